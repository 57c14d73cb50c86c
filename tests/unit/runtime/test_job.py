"""What a script's function gets from its rule, and what does not fit."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.iocontainers import InputFiles, Log, OutputFiles, Params, ResourceList, Wildcards

from headwise.runtime.job import JobError, arguments, run
from headwise.study.comparison import Comparison
from headwise.study.reading import Reading


def rule(
    tmp_path: Path,
    input: Mapping[str, Any] | None = None,
    output: Mapping[str, Any] | None = None,
    resources: Mapping[str, Any] | None = None,
    **values: Any,
) -> SimpleNamespace:
    """The `snakemake` of a script, whose rule is `measure` at seed 3."""
    return SimpleNamespace(
        rule="measure",
        input=InputFiles(fromdict=dict(input or {})),
        output=OutputFiles(fromdict=dict(output or {})),
        params=Params(fromdict={"arguments": values}),
        wildcards=Wildcards(fromdict={"seed": "3"}),
        resources=ResourceList(fromdict=dict(resources or {})),
        log=Log(toclone=[str(tmp_path / "logs" / "measure.log")]),
    )


def test_everything_comes_by_name_and_in_its_type(tmp_path: Path) -> None:
    def measure(
        weights: Path,
        tables: Sequence[Path],
        others: list[Path],
        table: Path,
        settings: Comparison,
        seed: int,
        study_file: Path,
        missing: Path | None = None,
    ) -> None: ...

    job = rule(
        tmp_path,
        {"weights": "a/model", "tables": ["b", "c"], "others": [], "library": ["src/x.py"], "gate": "declared"},
        {"table": "out.parquet"},
        {"study_file": "study.yaml", "mem_mb": 5},
        settings=Comparison(resamples=123).model_dump(),
    )
    assert arguments(measure, job) == {
        "weights": Path("a/model"),
        "tables": [Path("b"), Path("c")],
        "others": [],
        "table": Path("out.parquet"),
        "settings": Comparison(resamples=123),
        "seed": 3,
        "study_file": Path("study.yaml"),
    }


@dataclass(frozen=True)
class Tables:
    heads: Path
    random: Sequence[Path]


def test_all_files_of_one_side_come_as_a_dataclass_or_a_mapping(tmp_path: Path) -> None:
    def compare(inputs: Mapping[str, list[Path]], outputs: Tables) -> None: ...

    job = rule(
        tmp_path,
        {"heads": ["a", "b"], "pairs": ["c", "d"], "library": ["x.py"]},
        {"heads": "h", "random": ["r0", "r1"]},
    )
    assert arguments(compare, job) == {
        "inputs": {"heads": [Path("a"), Path("b")], "pairs": [Path("c"), Path("d")]},
        "outputs": Tables(Path("h"), [Path("r0"), Path("r1")]),
    }


def test_a_value_named_as_an_input_is_about_that_checkpoint(tmp_path: Path) -> None:
    def perturb(base: Reading, aligned: Sequence[Reading]) -> None: ...

    job = rule(
        tmp_path,
        {"base": "models/a", "aligned": ["models/b"]},
        base={"name": "a", "extraction": {"max_tokens": 7}, "loading": {}},
        aligned=[{"name": "b", "extraction": {}, "loading": {}}],
    )
    given = arguments(perturb, job)
    assert given["base"].checkpoint == Path("models/a")
    assert given["base"].extraction.max_tokens == 7
    assert [(each.name, each.checkpoint) for each in given["aligned"]] == [("b", Path("models/b"))]
    job.input = InputFiles(fromdict={"base": "models/a", "aligned": ["models/b", "models/c"]})
    with pytest.raises(JobError, match="rule measure, perturb: aligned: 1 values for 2 checkpoints"):
        arguments(perturb, job)


def test_metadata_get_the_digest_of_the_prompts_that_are_read(tmp_path: Path) -> None:
    def measure(metadata: dict[str, Any]) -> None: ...

    (tmp_path / "prompts.json").write_text(json.dumps({"sha256": "abc"}))
    job = rule(tmp_path, {"facts": str(tmp_path / "prompts.json")}, metadata={"study": "tiny"})
    assert arguments(measure, job) == {"metadata": {"study": "tiny", "prompts_digest": "abc"}}


def one(settings: Comparison, table: Path) -> None: ...


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"output": {"table": "t"}, "settings": {}, "more": 1}, "rule measure, one: no parameter for more"),
        ({"output": {"table": "t", "other": "u"}, "settings": {}}, "rule measure, one: no parameter for other"),
        ({"output": {}, "settings": {}}, "rule measure, one: the rule does not give table"),
        ({"output": {"table": "t"}}, "rule measure, one: the rule does not give settings"),
        (
            {"input": {"table": "s"}, "output": {"table": "t"}, "settings": {}},
            "rule measure, one: an output has the name of something else: table",
        ),
        ({"output": {"table": ["t"]}, "settings": {}}, "rule measure, one: table: .*path"),
        ({"output": {"table": "t"}, "settings": {"level": 2}}, r"rule measure, one: settings\.level: .*less than"),
        ({"output": {"table": "t"}, "settings": {"levels": 2}}, r"rule measure, one: settings\.levels: Extra"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(tmp_path: Path, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(JobError, match=sentence):
        arguments(one, rule(tmp_path, **given))


@pytest.mark.parametrize(("resources", "seen"), [({}, "5"), ({"gpu": 1}, "5"), ({"gpu": 0}, "")])
def test_a_job_holds_the_gpus_that_its_rule_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resources: dict[str, int], seen: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    found = []
    run(lambda: found.append(os.environ["CUDA_VISIBLE_DEVICES"]), rule(tmp_path, resources=resources))
    assert found == [seen]


def failing(seed: int) -> None:
    print(f"seed {seed}")
    raise ValueError("too few tokens")


def test_output_goes_to_the_log_and_an_error_ends_the_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(failing, rule(tmp_path))
    assert ended.value.code == 1
    assert capsys.readouterr().err == "ValueError: too few tokens\n"
    assert (tmp_path / "logs" / "measure.log").read_text().startswith("seed 3\nTraceback")
