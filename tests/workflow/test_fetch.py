"""A study of models that were made elsewhere: what is planned, and fetching alone."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from mirror import build_mirror
from tiny import write_study
from transformers import LlamaConfig

from headwise.study.lock import read_lock

Run = Callable[..., CompletedProcess[str]]
MODELS = [
    {"name": "base", "source": "hub", "repository": "org/llama"},
    {
        "name": "chat",
        "source": "hub",
        "repository": "org/llama-chat",
        "revision": "v1",
        "base": "base",
        "method": "dpo",
    },
    {"name": "protocol", "source": "hub", "repository": "org/llama", "seeds": [42, 123, 456]},
    {"name": "refits", "source": "hub", "repositories": {21: "org/one", 49: "org/two"}},
    {
        "name": "lens",
        "source": "transformer_lens",
        "repository": "org/lens",
        "weights": "final_{seed}.pt",
        "config": "lens.json",
        "tokenizer_repository": "org/tokenizer",
        "seeds": [1, 2],
    },
]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The study file; nothing that it names is fetched."""
    (tmp_path / "lens.json").write_text("{}")
    return write_study(tmp_path, models=MODELS)


def job_counts(plan: str) -> dict[str, int]:
    table = plan.split("Job stats:")[1].split("total")[0]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+)\s+(\d+)\s*$", table, re.MULTILINE)}


def test_each_checkpoint_is_fetched_once_and_measured_at_each_seed(
    study: Path, tmp_path: Path, snakemake: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    planned = job_counts(snakemake(tmp_path, "-n", "--configfile", study).stdout)
    # base, chat, protocol (one checkpoint at three seeds), two refits, two files of weights.
    assert (planned["fetch_model"], planned["convert_model"]) == (1 + 1 + 1 + 2 + 2, 2)
    assert planned["extract_attention"] == 1 + 1 + 3 + 2 + 2
    assert not {"build_corpus", "train_model"} & set(planned)
    alone = job_counts(snakemake(tmp_path, "fetch", "-n", "--configfile", study).stdout)
    assert alone == {"fetch": 1, "fetch_model": 7}


@pytest.mark.slow
def test_fetching_alone_writes_the_lock_file_and_is_done_once(
    tmp_path: Path, snakemake: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = write_study(tmp_path, models=MODELS[:2])
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = LlamaConfig(vocab_size=300, **shape)
    models = {"org/llama": (config, "main"), "org/llama-chat": (config, "v1")}
    commits = build_mirror(tmp_path / "hub", models)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    snakemake(tmp_path, "fetch", "--cores", "2", "--configfile", study)
    lock = tmp_path / "study.lock.yaml"
    expected = {"org/llama": {"main": commits["org/llama"]}, "org/llama-chat": {"v1": commits["org/llama-chat"]}}
    assert read_lock(lock) == expected
    fetched = tmp_path / "results/tiny/models/chat/seed1.json"
    assert json.loads(fetched.read_text())["sources"][0]["commit"] == commits["org/llama-chat"]
    assert "Nothing to be done" in snakemake(tmp_path, "fetch", "-n", "--configfile", study).stdout
    lock.write_text(lock.read_text().replace(commits["org/llama"], "a" * 40))
    refused = snakemake(tmp_path, "-n", "--configfile", study, check=False)
    assert refused.returncode != 0
    assert "remove results/tiny/models/base/seed1.json" in refused.stdout + refused.stderr
