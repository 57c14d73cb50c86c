"""The command line: what each command prints, and that wrong input ends with a sentence and exit code 2."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from cli_examples import PROMPTS, headwise, write_checkpoint

from headwise.analyses.stability.settings import refit_groups
from headwise.report.results import results_schema
from headwise.runtime import doctor
from headwise.runtime.parquet import read_metadata
from headwise.runtime.provenance import file_digest
from headwise.study.new_study import given
from headwise.study.parse import load_study, study_schema
from headwise.study.reference import BEGIN, END, study_reference

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small checkpoints and a prompt file."""
    folder = tmp_path_factory.mktemp("work")
    write_checkpoint(folder / "base", seed=1)
    write_checkpoint(folder / "aligned", seed=2)
    (folder / "prompts.txt").write_text(PROMPTS)
    return folder


# --- help and errors ---


def test_help_names_the_commands_and_comes_at_once() -> None:
    code = (
        "import sys, time; from headwise.cli import app; app(['--help'], standalone_mode=False);"
        "print(time.process_time() < 0.7, {'torch', 'transformers', 'pandas', 'pydantic'} & set(sys.modules))"
    )
    lines = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    assert lines[-1] == "True set()"
    for command in ("verify", "extract", "compare", "schema"):
        assert any(re.search(rf"│ {command} ", line) for line in lines)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["verify", "absent.yaml"], "absent.yaml: there is no such file: check the path"),
        (["compare", "a", "b", "--prompts", "absent.txt"], "absent.txt: there is no such prompt file"),
        (
            ["compare", "a", "b", "--prompts", "prompts.txt"],
            "a: there is no such checkpoint folder: check the path",
        ),
        (
            ["compare", "a", "b"],
            "no prompt set: this is no checkout of headwise, so give one with --prompts FILE",
        ),
        (["extract", "a", "--output", "o"], "no prompt set: this is no checkout"),
        (
            ["compare", "a", "b", "--estimators", "gini"],
            "--estimators: there is no estimator 'gini' here: choose",
        ),
        (
            ["compare", "a", "b", "--primary", "gini"],
            "--primary: there is no estimator 'gini' here: choose from",
        ),
        (
            ["compare", "a", "b", "--estimators", "entropy_profile"],
            "--primary: 'hellinger' is not among --estimators: add it there, or give --primary entropy_profile.",
        ),
        (
            ["schema", "--markdown", "--output", "prompts.txt"],
            "prompts.txt: no place for the reference: add these",
        ),
        (["schema", "--markdown", "--output", "absent.md"], "absent.md"),
        (["new-study", "base", "--output", "x.yaml"], "one model has nothing to be compared with"),
        (["new-study", "base", "absent", "--output", "x.yaml"], "absent: neither a folder nor a repository of a hub"),
        (["new-study", "base", "aligned", "--output", "a b.yaml"], "name"),
        (["findings", "base"], "results.json: there are no results here yet"),
        (["findings", "base/config.json"], "base/config.json: this is no results.json of a study"),
    ],
)
def test_wrong_input_ends_with_a_sentence_and_exit_code_2(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(workplace)
    done = headwise(*arguments)
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr
    assert done.stdout == ""


# --- verify ---


def test_verify_shows_what_the_default_study_would_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = headwise("verify", "config/config.yaml")
    assert done.exit_code == 0
    assert re.search(r"multi_head-dpo +│ align +│ multi_head +│ dpo +│ 1, 2, 3, 4, 5 ", done.stdout)
    assert re.search(r"models × seeds +30", done.stdout)
    assert re.search(r"prompts +120: 20 factual, 20 reasoning", done.stdout)
    assert re.search(r"estimators +hellinger, entropy_profile", done.stdout)
    assert "results/default/" in done.stdout


def test_verify_prints_names_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    bases = [f"{'a_long_name_' * 7}{end}" for end in ("one", "two")]
    models = [f"  - {{name: {base}, source: train}}" for base in bases]
    models += [f"  - {{name: {base[::-1]}, source: align, base: {base}, method: sft}}" for base in bases]
    study = tmp_path / "study.yaml"
    prompts = "prompts: {path: prompts/headwise-120.jsonl}"
    study.write_text("\n".join(["name: long", prompts, "models:", *models]), encoding="utf-8")
    done = headwise("verify", study)
    assert done.exit_code == 0, done.output
    rows = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    names = "".join(row[1].strip() for row in rows)
    for name in (*bases, *(base[::-1] for base in bases)):
        assert name in names
    assert "…" not in done.stdout


def test_verify_tells_every_problem_of_a_study_and_of_its_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"name": "x", "prompts": {"path": "p.txt"}, "models": [{"name": "m", "source": "train"}]}
    Path("p.txt").write_text(PROMPTS)
    Path("broken.yaml").write_text(yaml.safe_dump(content | {"seed": 1, "training": {"steps": 0}}))
    done = headwise("verify", "broken.yaml")
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 2
    Path("unpinned.yaml").write_text(yaml.safe_dump(content))
    done = headwise("verify", "unpinned.yaml")
    assert done.exit_code == 2
    assert re.search(r"SHA256SUMS: no digest of p\.txt: add the line '[0-9a-f]{64}  p\.txt'", done.stderr)


def test_verify_names_a_checkpoint_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = {"name": "m", "source": "folder", "path": "weights"}
    content = {"name": "x", "title": "[a title]", "prompts": {"path": "p.txt"}, "models": [model]}
    Path("s.yaml").write_text(yaml.safe_dump(content))
    done = headwise("verify", "s.yaml")
    assert done.exit_code == 2
    assert done.stderr == "s.yaml: models.0 ('m').path: there is no folder weights: correct the path\n"
    Path("weights").mkdir()
    assert "there is no file weights/config.json" in headwise("verify", "s.yaml").stderr
    Path("weights/config.json").write_text("{}")
    Path("p.txt").write_text(PROMPTS)
    Path("SHA256SUMS").write_text(f"{file_digest('p.txt')}  p.txt\n")
    assert "weights/config.json: model_type is missing" in headwise("verify", "s.yaml").stderr
    shutil.rmtree("weights")
    write_checkpoint(Path("weights"), seed=1)
    done = headwise("verify", "s.yaml")
    assert done.exit_code == 0
    assert "[a title]" in done.stdout


# --- schema ---


def test_schema_prints_json_or_markdown() -> None:
    assert json.loads(headwise("schema").stdout) == study_schema()
    assert headwise("schema", "--markdown").stdout == study_reference()
    assert json.loads(headwise("schema", "--results").stdout) == results_schema()
    assert "exclude each other" in headwise("schema", "--markdown", "--results").stderr


def test_schema_writes_files_and_keeps_what_stands_around_the_reference(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Mine\n{BEGIN}\n{END}\nThe end.\n")
    for _ in range(2):
        assert headwise("schema", "--markdown", "--output", readme).exit_code == 0
    assert readme.read_text() == f"# Mine\n{BEGIN}\n\n{study_reference()}\n{END}\nThe end.\n"
    assert headwise("schema", "--output", tmp_path / "s.json").exit_code == 0
    assert json.loads((tmp_path / "s.json").read_text()) == study_schema()


# --- extract and compare ---


@pytest.mark.parametrize("store", ["tensors", "statistics"])
def test_extract_writes_and_lists_its_files(workplace: Path, tmp_path: Path, store: str) -> None:
    output = tmp_path / "out"
    done = headwise(
        "extract",
        workplace / "base",
        "--prompts",
        workplace / "prompts.txt",
        "--output",
        output,
        "--store",
        store,
    )
    assert done.exit_code == 0, done.output
    expected = {"heads", "pairs", "descriptors"} | ({"attention"} if store == "tensors" else set())
    assert {Path(line).stem for line in done.stdout.splitlines()} == expected
    prompts = pq.read_table(output / "heads.parquet")["prompt"].unique().to_pylist()
    assert prompts == ["1", "2", "3"]


def test_what_a_text_begins_with_is_an_option(workplace: Path, tmp_path: Path) -> None:
    """The tokenizer puts one token before each prompt."""
    longest = {}
    for first_token in ("tokenizer", "none", "bos"):
        output = tmp_path / first_token
        options = ("--prompts", workplace / "prompts.txt", "--output", output, "--first-token", first_token)
        done = headwise("extract", workplace / "base", *options)
        assert done.exit_code == 0, done.output
        metadata = read_metadata(output / "heads.parquet")
        assert metadata["first_token"] == first_token
        longest[first_token] = metadata["longest_prompt_tokens"]
    assert longest["tokenizer"] == longest["bos"] == longest["none"] + 1


def test_a_prompt_that_is_too_long_names_the_option(workplace: Path, tmp_path: Path) -> None:
    done = headwise(
        "compare",
        workplace / "base",
        workplace / "aligned",
        "--prompts",
        workplace / "prompts.txt",
        "--max-tokens",
        "2",
    )
    assert done.exit_code == 2
    assert "more than max_tokens 2: shorten it, or raise the limit" in done.stderr
    assert "--max-tokens on the command line" in " ".join(done.stderr.split())


def test_compare_prints_a_table_and_a_sentence(workplace: Path) -> None:
    done = headwise("compare", workplace / "base", workplace / "aligned", "--prompts", workplace / "prompts.txt")
    assert done.exit_code == 0, done.output
    for estimator in ("hellinger", "js_divergence", "pattern_correlation", "output_cka"):
        assert re.search(rf"^{estimator} +kept +[\d.e-]+ +[\d.e-]+ +[+-]", done.stdout, re.M)
    assert re.search(
        r"^hellinger: .*interval .* to .*, p = .* with 0\.25 attainable, 3 prompts\)\.$", done.stdout, re.M
    )


def test_compare_of_a_checkpoint_with_itself_is_exactly_nothing(workplace: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(workplace / "base", tmp_path / "copy")
    done = headwise("compare", workplace / "base", copy, "--prompts", workplace / "prompts.txt", "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert rows
    assert {row["delta_absolute"] for row in rows if row["base_value"] is not None} == {0.0}
    assert {row["p"] for row in rows if row["p"] is not None} == {1.0}


def test_compare_keeps_its_files_where_it_is_told(workplace: Path, tmp_path: Path) -> None:
    output = tmp_path / "kept"
    arguments = [
        "compare",
        workplace / "base",
        workplace / "aligned",
        "--prompts",
        workplace / "prompts.txt",
        "--json",
    ]
    rows = json.loads(headwise(*arguments, "--estimators", "hellinger", "--output", output).stdout)
    assert {row["estimator"] for row in rows} == {"hellinger"}
    kept = {str(path.relative_to(output)) for path in output.rglob("*.parquet")}
    assert {"comparison.parquet", "base/features.parquet", "aligned/summary.parquet"} <= kept


def test_compare_refuses_models_of_different_shapes(workplace: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", seed=1, heads=2)
    done = headwise("compare", workplace / "base", other, "--prompts", workplace / "prompts.txt")
    assert done.exit_code == 2
    assert "cannot be compared" in done.stderr


# --- what a machine has, a study to begin with ---


def test_doctor_says_what_is_there_and_ends_well_where_nothing_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = headwise("doctor", "--json")
    checks = {check["what"]: check for check in json.loads(done.stdout)}
    assert {"Python", "packages", "devices", "disk", "cache of models", "hub", "Slurm"} <= set(checks)
    assert done.exit_code == any(check["state"] == "wrong" for check in checks.values())
    assert all(check["remedy"] for check in checks.values() if check["state"] == "wrong")
    assert checks["Python"]["found"] == platform.python_version()


def test_doctor_says_what_to_do_about_an_old_package_and_a_silent_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version of torch from before, and a `sinfo` that fails as Slurm's does."""
    monkeypatch.setattr(doctor, "version", lambda name: "1.0" if name == "torch" else version(name))
    sinfo = tmp_path / "sinfo"
    sinfo.write_text("#!/bin/sh\necho 'slurm_load_partitions: Unable to contact slurm controller' >&2\nexit 1\n")
    sinfo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = {check.what: check for check in doctor.examine(tmp_path)}
    (torch,) = [check for what, check in found.items() if what.startswith("torch")]
    assert (torch.state, torch.found) == ("wrong", "version 1.0")
    assert "pip install" in torch.remedy
    assert found["Slurm"].state == "wrong"
    assert "Unable to contact slurm controller" in found["Slurm"].found


def test_a_new_study_names_the_models_and_is_valid(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    made = headwise("new-study", "base", "aligned", "some/model@v1", "--output", "mine.yaml")
    assert made.exit_code == 0, made.output
    study = load_study("mine.yaml")
    assert [model.name for model in study.models] == ["base", "aligned", "model"]
    assert [getattr(model, "base", None) for model in study.models] == [None, "base", "base"]
    assert study.models[2].model_dump()["revision"] == "v1"
    again = headwise("new-study", "base", "aligned", "--output", "mine.yaml")
    assert again.exit_code == 2
    assert "there is such a file already" in again.stderr


def test_a_new_study_of_refits_matches_them(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    made = headwise("new-study", "base", "aligned", "--refits", "--output", "refits.yaml")
    assert made.exit_code == 0, made.output
    (group,) = refit_groups(load_study("refits.yaml"))
    assert group.models == ["base", "aligned"]


def test_two_models_of_one_name_are_told_apart(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    assert [each.name for each in given(["base", "some/Base", "other/base"])] == ["base", "Base-2", "base-3"]


def test_findings_are_printed_as_the_report_says_them(tmp_path: Path) -> None:
    """The first screen's, and all of them where that is asked for."""
    found = [
        {"headline": True, "sentence": "Heads [of refits] agree.", "numbers": "0.2 (0.1 to 0.3)"},
        {"headline": False, "sentence": "The rest.", "numbers": ""},
    ]
    content = {"study": {"title": "A study", "name": "a"}, "findings": found}
    (tmp_path / "results.json").write_text(json.dumps(content), encoding="utf-8")
    short, whole, data = (headwise("findings", tmp_path, *more) for more in ((), ("--all",), ("--json",)))
    assert short.stdout.splitlines() == ["A study", "- Heads [of refits] agree. 0.2 (0.1 to 0.3)"]
    assert "The rest." in whole.stdout
    assert json.loads(data.stdout) == found
