"""The studies under config/studies: their models, their facts, what they would run, and one of them run for real."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

import pandas as pd
import pytest
import yaml
from dry_run import job_counts, most_memory
from mirror import SMALLEST_VOCABULARY, build_mirror
from published import PUBLISHED_BILLIONS, published_config
from tiny import write_prompts
from transformers import Gemma2Config, LlamaConfig

from headwise.models.architecture import architecture_facts
from headwise.planning.estimate import estimate
from headwise.planning.plan import Plan
from headwise.planning.rates import RATES
from headwise.study.lock import read_lock
from headwise.study.models import HubModel
from headwise.study.parse import load_study
from headwise.study.study import Study

Run = Callable[..., CompletedProcess[str]]
# Jobs that are there once, whatever the models.
ONCE = dict.fromkeys(
    ("declare", "check_declaration", "verify_prompts", "run_controls", "contrast_models", "analyse_factors"), 1
) | {"summarize_specialization": 1, "aggregate": 1, "draw_figures": 1, "write_report": 1, "all": 1}
JOBS = {
    "delia2026": {"fetch_model": 27, "extract_attention": 27, "evaluate_specialization": 27, "compare_pair": 11},
    "polypythias": {
        "fetch_model": 50,
        "extract_attention": 50,
        "evaluate_specialization": 50,
        "probe_refits": 5,
        "compare_refits": 5,
        "summarize_stability": 1,
    },
    "gpt2_refits": {
        "fetch_model": 10,
        "extract_attention": 10,
        "evaluate_specialization": 10,
        "probe_refits": 2,
        "compare_refits": 2,
        "summarize_stability": 1,
    },
    "bali2026": {
        "build_corpus": 1,
        "train_tokenizer": 1,
        "check_lengths": 1,
        "train_model": 26 * 5,
        "measure_working_heads": 1,
        "fetch_model": 2 * 5,
        "convert_model": 2 * 5,
        "extract_attention": 28 * 5,
        "evaluate_specialization": 28 * 5,
        "probe_refits": 28,
        "compare_refits": 28,
        "summarize_stability": 1,
    },
}


@cache
def shipped(name: str) -> Study:
    return load_study(Path(__file__).parents[2] / "config" / "studies" / f"{name}.yaml")


def repositories(study: Study) -> dict[str, HubModel]:
    """The model that each repository belongs to."""
    return {
        model.place("repository", seed): model
        for model in study.models
        if isinstance(model, HubModel)
        for seed in study.seeds_of(model)
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_a_dry_run_plans_every_job_without_a_network(
    name: str, root: Path, tmp_path: Path, snakemake: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for folder in ("config", "prompts"):
        (tmp_path / folder).symlink_to(root / folder)
    plan = snakemake(tmp_path, "-n", "--configfile", f"config/studies/{name}.yaml").stdout
    assert job_counts(plan) == ONCE | JOBS[name]
    # What `headwise cost` says beforehand.
    monkeypatch.chdir(tmp_path)
    rows = estimate(Plan([f"config/studies/{name}.yaml"]), RATES)
    assert {row.rule: row.jobs for row in rows} == ONCE | JOBS[name]
    assert {row.rule: row.memory_mb for row in rows if row.memory_mb} == most_memory(plan)
    # Nothing is left open until a file is there: a cluster can be asked before anything is fetched.
    assert "TBD" not in plan


def test_the_models_are_those_of_the_publications() -> None:
    vendors = {"meta": 5, "mistral": 4, "google": 4, "alibaba": 2, "01-ai": 2, "swiss-ai": 2, "microsoft": 4, "tii": 4}
    delia = shipped("delia2026")
    assert pd.Series([delia.family_of(model) for model in delia.models]).value_counts().to_dict() == vendors
    pythias = {f"EleutherAI/pythia-{size}" for size in ("14m", "31m", "70m", "160m", "410m")}
    assert set(repositories(shipped("polypythias"))) == {
        name + suffix for name in pythias for suffix in ("", *(f"-seed{seed}" for seed in range(1, 10)))
    }
    assert {model.revision for model in repositories(shipped("polypythias")).values()} == {"step143000"}
    seeds = {int(name.rpartition("x")[2]) for name in repositories(shipped("gpt2_refits"))}
    assert seeds == {21, 49, 81, 343, 777}
    bali = [model for model in shipped("bali2026").models if model.source == "train"]
    shapes = {
        (decoder.layers, decoder.heads, bool(decoder.feed_forward), training.optimizer)
        for model in bali
        for decoder, training in [(shipped("bali2026").decoder_of(model), shipped("bali2026").training_of(model))]
    }
    small = {(layers, heads, mlp) for layers in (2, 4, 8) for heads in (8, 16) for mlp in (True, False)}
    assert shapes == {(*shape, optimizer) for shape in small | {(12, 12, True)} for optimizer in ("adam", "adamw")}
    assert len(bali) == 26


@pytest.mark.slow
@pytest.mark.parametrize("name", ["delia2026", "polypythias", "gpt2_refits"])
def test_facts_are_those_of_the_published_configurations(name: str) -> None:
    @cache
    def facts_of(prefix: str) -> dict:
        config = published_config(prefix)
        return architecture_facts(config) | {"model_type": config.model_type}

    for repository, model in repositories(shipped(name)).items():
        facts = facts_of(repository.split("-seed")[0])
        windows = [window for window in facts["windows"] if window is not None]
        expected = {**{key: facts[key] for key in type(model.facts).model_fields if key != "window"}}
        assert model.facts.model_dump() == expected | {"window": min(windows, default=None)}, repository


@pytest.mark.slow
@pytest.mark.parametrize("repository", PUBLISHED_BILLIONS)
def test_configurations_have_as_many_weights_as_their_publishers_say(repository: str) -> None:
    billions = architecture_facts(published_config(repository))["parameters"] / 1e9
    assert billions == pytest.approx(PUBLISHED_BILLIONS[repository], rel=5e-3)


SMALL = {"vocab_size": SMALLEST_VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
GATED = {**SMALL, "intermediate_size": 16, "num_key_value_heads": 2}
# True configuration classes, tiny, with the windows and the sharing of keys and values of what they stand for.
MIRRORED = {
    "meta-llama/Llama-2-7b-hf": LlamaConfig(**{**GATED, "num_key_value_heads": 4}),
    "meta-llama/Llama-2-7b-chat-hf": LlamaConfig(**{**GATED, "num_key_value_heads": 4}),
    "google/gemma-2-9b": Gemma2Config(**GATED, head_dim=8, sliding_window=4096),
    "google/gemma-2-9b-it": Gemma2Config(**GATED, head_dim=8, sliding_window=4096),
}


def facts_of(repository: str) -> dict:
    """What the study states, of the tiny model that stands for the published one."""
    facts = architecture_facts(MIRRORED[repository])
    windows = [window for window in facts["windows"] if window is not None]
    stated = ("parameters", "layers", "hidden", "heads", "key_value_heads", "head_width")
    return {key: facts[key] for key in stated} | {"window": min(windows, default=None)}


@pytest.mark.slow
def test_the_published_pairs_run_from_a_local_mirror(
    root: Path, tmp_path: Path, snakemake: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yaml.safe_load((root / "config" / "studies" / "delia2026.yaml").read_text(encoding="utf-8"))
    models = [model for model in content["models"] if model["repository"] in MIRRORED]
    assert len(models) == len(MIRRORED)
    for model in models:
        model["facts"] = facts_of(model["repository"])
    content |= {"models": models, "prompts": {"path": "prompts/tiny.jsonl"}}
    content["specialization"] = {"estimators": ["hellinger", "entropy_profile"], "head_permutations": 5}
    content["comparison"] |= {"resamples": 99}
    write_prompts(tmp_path / "prompts" / "tiny.jsonl")
    study = tmp_path / "delia2026.yaml"
    study.write_text(yaml.safe_dump(content, sort_keys=False))
    commits = build_mirror(tmp_path / "hub", {name: (config, "main") for name, config in MIRRORED.items()})
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    snakemake(tmp_path, "results/delia2026/results.json", "--cores", "2", "--configfile", study)
    assert read_lock(tmp_path / "delia2026.lock.yaml") == {name: {"main": commits[name]} for name in MIRRORED}
    table = pd.read_parquet(tmp_path / "results" / "delia2026" / "tables" / "models.parquet").set_index("model")
    assert table["attention"].to_dict() == {
        "llama2-7b": "multi-head",
        "llama2-7b-chat": "multi-head",
        "gemma2-9b": "grouped-query",
        "gemma2-9b-it": "grouped-query",
    }
    assert (table["dtype"] == "bfloat16").all()
    # The window of Gemma 2 is there and hides nothing from prompts as short as these.
    gemma = table.loc["gemma2-9b"]
    assert (gemma["window_tokens"], gemma["window_layers"], gemma["window_layers_acting"]) == (4096, 1, 0)
    assert gemma["longest_prompt_tokens"] < 4096
    comparisons = {
        path.parent.name
        for path in (tmp_path / "results" / "delia2026" / "specialization").glob("*/comparison.parquet")
    }
    assert comparisons == {"llama2-7b-chat", "gemma2-9b-it"}


def test_every_study_is_listed_with_what_it_needs(root: Path) -> None:
    folder = root / "config" / "studies"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    for path in folder.glob("*.yaml"):
        if not path.name.endswith(".lock.yaml"):
            assert f"| `{path.name}` |" in listed, "what it is"
            assert f"| `{path.stem}` |" in listed, "what it needs"
