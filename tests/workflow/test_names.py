"""Names of files that are legitimate on disk: braces are no wildcards; quotes, blanks and line ends are no syntax."""

import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from mirror import byte_tokenizer
from tiny import tiny_content, write_study
from transformers import LlamaConfig, LlamaForCausalLM

Run = Callable[..., CompletedProcess[str]]
NAMES = [
    "notes {draft}",
    "{seed}",
    "{a,b+}",
    "{{model}}",
    "}{",
    "a  blank ",
    'it\'s "quoted"',
    "100%s %(x)s",
    "$HOME `id` ;|&",
    "line\nend",
    "-n",
    "[ab]*?",
    "ünïcode",
]


def with_odd_names(folder: Path, braces: str = "") -> Path:
    """The tiny study with every one of these names in its corpus, and odd names of folders, prompts and its own."""
    prompts = tiny_content()["prompts"]["path"]
    text = folder / f"te{braces}xt's 100% [v2]"
    study = write_study(
        folder,
        prompts={"path": 'prompts/set{v2}\'s "100%".jsonl'},
        corpus={"source": "text", "path": text.name, "held_out": 0.2},
        controls={"learned_circuit": False, "released_results": "released [1]"},
        comparison={"resamples": 99},
    )
    (folder / "text").rename(text)
    for name in NAMES:
        (text / f"{name}.txt").write_text(f"A text of its own, {name.encode().hex()}.\n" * 9)
    content = (folder / prompts).read_bytes()
    (folder / prompts).rename(folder / "prompts" / 'set{v2}\'s "100%".jsonl')
    (folder / "prompts" / "SHA256SUMS").write_text(f'{sha256(content).hexdigest()}  set{{v2}}\'s "100%".jsonl\n')
    (folder / "released [1]").mkdir()
    for name in ("a", "{b}"):
        (folder / "released [1]" / f"{name}.json").write_text("{}")
    return study.rename(study.with_name("my {study}'s 100%.yaml"))


def test_a_study_whose_files_have_odd_names_is_planned(tmp_path: Path, snakemake: Run) -> None:
    planned = snakemake(tmp_path, "-n", "--configfile", with_odd_names(tmp_path)).stdout
    rules = {
        rule: "".join(planned.split(f"rule {rule}:")[1].split("output:")[0])
        for rule in ("build_corpus", "compute_released")
    }
    assert 'it\'s "quoted".txt' in rules["build_corpus"]
    assert "released [1]/a.json" in rules["compute_released"]


def test_a_file_of_a_checkpoint_with_braces_is_named(tmp_path: Path, snakemake: Run) -> None:
    models, extraction = [{"name": "own", "source": "folder", "path": "own"}], {"max_tokens": 512}
    study = write_study(tmp_path, models=models, seeds=[1], extraction=extraction)
    width = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=300, num_hidden_layers=1, max_position_embeddings=512, **width)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "own")
    byte_tokenizer(300, ["A text."]).save_pretrained(tmp_path / "own")
    snakemake(tmp_path, "-n", "--configfile", study)
    templates = tmp_path / "own" / "additional_chat_templates"
    templates.mkdir()
    (templates / "{tool}.jinja").write_text("{{ messages }}")
    refused = snakemake(tmp_path, "-n", "--configfile", study, check=False)
    said = "own/additional_chat_templates/{tool}.jinja: Snakemake takes braces in this name for a wildcard"
    assert said in refused.stdout + refused.stderr


@pytest.mark.slow
def test_files_with_odd_names_are_read_and_their_changes_are_noticed(tmp_path: Path, snakemake: Run) -> None:
    study = with_odd_names(tmp_path, "{x}")
    targets = ["results/tiny/corpus/documents.jsonl", "results/tiny/prompts.jsonl", "--configfile", study]
    snakemake(tmp_path, "--cores", "1", *targets)
    documents = (tmp_path / "results/tiny/corpus/documents.jsonl").read_text()
    assert all(name.encode().hex() in documents for name in NAMES)
    assert "Nothing to be done" in snakemake(tmp_path, "-n", *targets).stdout
    changed = tmp_path / "te{x}xt's 100% [v2]" / "notes {draft}.txt"
    changed.write_text(changed.read_text() + "One more.\n")
    planned = snakemake(tmp_path, "-n", *targets).stdout
    assert "build_corpus" in planned
    assert "verify_prompts" not in planned


def test_a_working_folder_may_have_an_odd_name_and_a_checkout_one_without_braces(
    tmp_path: Path, root: Path, snakemake: Run
) -> None:
    folder = tmp_path / "it's a {seed} 100% folder"
    write_study(folder)
    snakemake(folder, "-n", "--configfile", folder / "study.yaml")
    (tmp_path / "headwise {v1}").symlink_to(root)
    (tmp_path / "it's 100% headwise").symlink_to(root)
    for name, refused in {"it's 100% headwise": False, "headwise {v1}": True}.items():
        command = [sys.executable, "-m", "snakemake", "-n", "--snakefile", tmp_path / name / "Snakefile"]
        done = subprocess.run(
            [*command, "--configfile", "study.yaml"], cwd=folder, capture_output=True, text=True, check=False
        )
        assert (done.returncode != 0) == refused
        assert ("takes braces in the name of this folder for a wildcard" in done.stdout + done.stderr) == refused
