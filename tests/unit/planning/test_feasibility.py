"""What is refused before anything runs, from files alone: by `verify`, by Snakemake's main process, by `compare`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_examples import PROMPTS, headwise, write_checkpoint
from models_examples import write_corpus, write_tokenizer
from safetensors.torch import load_file, save_file
from tiny import tiny_content, write_study

from headwise.models.headers import CheckpointError
from headwise.planning.feasibility import CHECKED, check_lengths, check_pair, check_study, check_trained
from headwise.study.data import Tokenizer
from headwise.study.extraction import Extraction
from headwise.study.parse import parse_study
from headwise.study.prompts import Prompt, PromptError, parse_prompts
from headwise.study.section import StudyError
from headwise.study.study import Study

SHORT = parse_prompts(PROMPTS.encode(), "prompts.txt")
LONG = [*SHORT, Prompt("long", "d", "x" * 70)]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and an aligned checkpoint of 64 positions; a byte is a token."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoint(folder / "base", seed=1)
    write_checkpoint(folder / "aligned", seed=2)
    return folder


def study_of(*models: dict[str, object], **sections: object) -> Study:
    content = tiny_content() | {"models": list(models), "extraction": {"store": "statistics"}} | sections
    return parse_study(content, "study.yaml")


def on_disk(folder: Path, name: str, **fields: object) -> dict[str, object]:
    return {"name": name, "source": "folder", "path": str(folder / name), **fields}


def test_what_can_be_measured_passes(checkpoints: Path, tmp_path: Path) -> None:
    study = study_of(
        on_disk(checkpoints, "base"),
        on_disk(checkpoints, "aligned", base="base", method="sft", template="chat"),
        {"name": "trained", "source": "train"},
        noise={"models": ["base"], "tokens": 64},
    )
    check_study(study, SHORT, tmp_path, "study.yaml")


def test_every_model_that_cannot_be_measured_is_named_with_its_field(checkpoints: Path, tmp_path: Path) -> None:
    (checkpoints / "aligned" / "adapter_config.json").write_text("{}")
    try:
        study = study_of(on_disk(checkpoints, "base"), on_disk(checkpoints, "aligned", base="base", method="sft"))
        with pytest.raises(StudyError) as error:
            check_study(study, LONG, tmp_path, "study.yaml")
    finally:
        (checkpoints / "aligned" / "adapter_config.json").unlink()
    first, second = str(error.value).splitlines()
    assert first.startswith("study.yaml: models.0 ('base'): prompt 'long' has 71 tokens")
    assert "more than the model's 64 positions" in first
    assert second.startswith("study.yaml: models.1 ('aligned'): ")
    assert "adapter" in second


@pytest.mark.parametrize(
    ("experiments", "said"),
    [
        ({"noise": {"models": ["base"], "tokens": 65}}, "noise.tokens: 65 tokens do not fit into the 64"),
        (
            {"noise": {"models": ["base"], "tokens": 8, "generated_text": {"new_tokens": 9000}}},
            "noise.generated_text.new_tokens: 9001 tokens do not fit",
        ),
        (
            {"recursion": {"arms": [{"name": "a", "model": "base", "mode": "continue"}], "context": 32}},
            "context 32 and new_tokens 64 do not fit",
        ),
    ],
)
def test_texts_longer_than_a_model_on_disk_has_positions_are_refused(
    experiments: dict[str, object], said: str, checkpoints: Path, tmp_path: Path
) -> None:
    study = study_of(on_disk(checkpoints, "base"), **experiments)
    with pytest.raises(StudyError, match=said):
        check_study(study, SHORT, tmp_path, "study.yaml")


def test_prompts_are_held_against_a_tokenizer_once_it_is_trained(tmp_path: Path) -> None:
    study = study_of({"name": "trained", "source": "train"}, extraction={"max_tokens": 24, "store": "statistics"})
    check_study(study, LONG, tmp_path, "study.yaml")
    folder = write_tokenizer(tmp_path / "results" / study.name, write_corpus(tmp_path))
    (tmp_path / "prompts.txt").write_text(PROMPTS)
    check_lengths(study, [tmp_path / "prompts.txt"], folder, folder.parent / CHECKED)
    with pytest.raises(PromptError, match=r"prompt 'long' has \d+ tokens for .*, more than max_tokens 24"):
        check_trained(study, LONG[-1:], folder)
    with pytest.raises(StudyError, match=r"^study.yaml: prompt 'long'"):
        check_study(study, LONG[-1:], tmp_path, "study.yaml")
    # One that is going to be trained anew says nothing.
    check_study(study.model_copy(update={"tokenizer": Tokenizer(vocabulary=900)}), LONG[-1:], tmp_path, "study.yaml")


def test_a_pair_is_refused_where_prompts_become_other_tokens(checkpoints: Path, tmp_path: Path) -> None:
    check_pair(checkpoints / "base", checkpoints / "aligned", SHORT, Extraction())
    other = tmp_path / "other"
    write_checkpoint(other, seed=3)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Lowercase"}
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(CheckpointError, match="prompt '1' becomes other tokens for one than for the other"):
        check_pair(checkpoints / "base", other, SHORT, Extraction())


def test_compare_looks_at_both_folders_before_it_measures_one(checkpoints: Path, tmp_path: Path) -> None:
    prompts, kept = tmp_path / "prompts.txt", tmp_path / "kept"
    prompts.write_text(PROMPTS)
    damaged = tmp_path / "damaged"
    write_checkpoint(damaged, seed=2)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    done = headwise("compare", checkpoints / "base", damaged, "--prompts", prompts, "--output", kept)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"{weights}: cut off or damaged")
    assert not kept.exists()


def test_compare_names_a_tensor_that_the_second_folder_lacks_before_it_measures_the_first(
    checkpoints: Path, tmp_path: Path
) -> None:
    prompts, kept = tmp_path / "prompts.txt", tmp_path / "kept"
    prompts.write_text(PROMPTS)
    write_checkpoint(tmp_path / "lacking", seed=2)
    weights = load_file(tmp_path / "lacking" / "model.safetensors")
    del weights["model.layers.1.self_attn.q_proj.weight"]
    save_file(weights, tmp_path / "lacking" / "model.safetensors", metadata={"format": "pt"})
    done = headwise("compare", checkpoints / "base", tmp_path / "lacking", "--prompts", prompts, "--output", kept)
    assert done.exit_code == 2
    assert "'model.layers.1.self_attn.q_proj.weight'" in done.stderr
    assert not kept.exists()


def test_the_checks_import_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, headwise.planning.feasibility, headwise.pair; "
        "print(sorted({'torch', 'transformers', 'pandas', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_verify_and_cost_refuse_what_cannot_run(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = write_study(tmp_path, models=[on_disk(checkpoints, "base")])
    for command in ("verify", "cost"):
        done = headwise(command, study)
        assert done.exit_code == 2
        assert "models.0 ('base'): prompt 'p00' has " in done.stderr
