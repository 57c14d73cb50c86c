"""What is wrong with a study is said before anything runs: file, field, remedy, and a non-zero exit code."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from tiny import tiny_content, write_study

Run = Callable[..., CompletedProcess[str]]
MODELS = tiny_content()["models"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seed": 3}, "seed: unknown key"),
        ({"training": {"steps": "many"}}, "training.steps: Input should be a valid integer"),
        (
            {"specialization": {"estimators": ["hellinger", "gini"]}},
            "specialization.estimators: unknown estimator 'gini'",
        ),
        ({"models": [*MODELS, MODELS[0]]}, "models: 'multi_head' is defined 2 times"),
        ({"decoder": {"window": True}}, "decoder: 'window' has a truth value"),
        ({"corpus": {"source": "text", "path": "absent"}}, "corpus.path: there is no folder absent"),
        (
            {"models": [*MODELS, {"name": "mine", "source": "folder", "path": "absent"}]},
            "models.4 ('mine').path: there is no folder absent",
        ),
        ({"models": MODELS[1:]}, "models.1 ('multi_head-sft').base: there is no model 'multi_head'"),
    ],
    ids=[
        "unknown key",
        "wrong type",
        "unknown estimator",
        "duplicate model",
        "truth value",
        "missing corpus",
        "missing checkpoint",
        "missing base",
    ],
)
def test_an_invalid_study_is_refused_with_its_field(
    tmp_path: Path, snakemake: Run, changes: dict[str, Any], expected: str
) -> None:
    study = write_study(tmp_path, **changes)
    refused = snakemake(tmp_path, "--cores", "1", "--configfile", study, check=False)
    assert refused.returncode != 0
    assert f"{study}: {expected}" in refused.stdout + refused.stderr
    assert not (tmp_path / "results").exists()


def test_results_of_an_earlier_version_are_refused_in_a_sentence(tmp_path: Path, snakemake: Run) -> None:
    study = write_study(tmp_path)
    (tmp_path / "results" / "tiny" / "robustness").mkdir(parents=True)
    refused = snakemake(tmp_path, "-n", "--configfile", study, check=False)
    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert "results/tiny: an earlier version wrote robustness, which no rule reads now: move them" in said
    assert "Traceback" not in said


def with_changed_byte(prompts: Path) -> None:
    prompts.write_bytes(prompts.read_bytes().replace(b"domain1", b"domain9", 1))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (with_changed_byte, ["tiny.jsonl", "expected", "found"]),
        (lambda prompts: prompts.unlink(), ["tiny.jsonl"]),
    ],
    ids=["changed byte", "missing file"],
)
def test_damaged_prompts_stop_the_study_before_anything_else(
    tmp_path: Path, snakemake: Run, damage: Callable[[Path], None], expected: list[str]
) -> None:
    study = write_study(tmp_path)
    damage(tmp_path / "prompts" / "tiny.jsonl")
    refused = snakemake(tmp_path, "--cores", "2", "--configfile", study, check=False)
    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert all(word in said for word in expected)
    assert not (tmp_path / "results").exists()


def test_a_section_that_is_written_twice_is_refused_although_snakemake_has_read_the_file(
    tmp_path: Path, snakemake: Run
) -> None:
    study = write_study(tmp_path)
    first = study.read_text().splitlines().index("training:") + 1
    second = len(study.read_text().splitlines()) + 1
    study.write_text(study.read_text() + "training: {steps: 7}\n")
    refused = snakemake(tmp_path, "-n", "--configfile", study, check=False)
    assert refused.returncode != 0
    said = f"{study}: lines {first} and {second}: the key 'training' is written twice in one section"
    assert said in refused.stdout + refused.stderr
