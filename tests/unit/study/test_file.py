"""A study file is read as it is written, or refused by line; and merged exactly as Snakemake merges it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from snakemake.cli import parse_config
from snakemake.settings.types import ConfigSettings
from study_examples import MINIMAL

from headwise.study.lock import read_lock
from headwise.study.merging import parse_change
from headwise.study.parse import load_study, parse_study
from headwise.study.section import StudyError
from headwise.study.yaml_file import parse_yaml, read_yaml


def refusal(text: str) -> str:
    with pytest.raises(StudyError) as error:
        parse_yaml(text, "s.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("name: a\ntraining: {steps: 1}\ntitle: t\ntraining: {batch: 2}\n", [(2, 4, "training")]),
        ("models:\n  - name: a\n    source: train\n    name: b\n", [(2, 4, "name")]),
        ("a: {b: 1, c: 2, b: 3}\n", [(1, 1, "b")]),
        ('name: a\n"name": b\n', [(1, 2, "name")]),
        ("repositories:\n  1: a/b\n  0x1: c/d\n", [(2, 3, "0x1")]),
        ("a: 1\na: 2\nb: 3\na: 4\nb: 5\n", [(1, 2, "a"), (2, 4, "a"), (3, 5, "b")]),
        ("a: &x {b: 1}\nc:\n  <<: *x\n  d: 1\n  d: 2\n", [(4, 5, "d")]),
    ],
)
def test_a_key_that_is_written_twice_is_refused_with_both_lines(text: str, lines: list[tuple[int, int, str]]) -> None:
    assert refusal(text).splitlines() == [
        f"s.yaml: lines {first} and {second}: the key '{key}' is written twice in one section, and the first would be "
        "dropped: keep one of them"
        for first, second, key in lines
    ]


def test_a_key_that_is_written_twice_in_json_is_refused() -> None:
    assert (
        refusal('{"a": {"b": 1, "b": 2}}') == "s.yaml: the key 'b' is written 2 times in one section: keep one of them"
    )


MERGED = """\
common: &common {steps: 5, batch: 2}
also: &also
  <<: *common
  batch: 3
one:
  <<: *also
  batch: 4
two:
  <<: [*also, *common]
  tokens: 9
three: *also
"""


def test_merge_keys_are_no_second_time() -> None:
    assert parse_yaml(MERGED, "s.yaml") == yaml.safe_load(MERGED)
    assert parse_yaml(MERGED, "s.yaml")["one"] == {"steps": 5, "batch": 4}


@pytest.mark.parametrize("number", ["010", "-017", "1:30", "1:30.5", "1__0", ".inf", "-.INF", ".nan", "9" * 5000])
def test_a_number_that_is_not_read_as_it_is_written_is_refused(number: str) -> None:
    said = refusal(f"name: a\nseeds: [1, {number}]\n")
    assert said.startswith(f"s.yaml: line 2: {number[:40]} is not read as it is written: ")
    assert len(said) < 200


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("10", 10),
        ("0", 0),
        ("-3", -3),
        ("+3", 3),
        ("1_000", 1000),
        ("0x10", 16),
        (".5", 0.5),
        ("1.", 1.0),
        ("6.0e-3", 0.006),
    ],
)
def test_a_number_as_anyone_reads_it_is_taken(number: str, value: float) -> None:
    assert parse_yaml(f"a: {number}", "s.yaml") == {"a": value}


@pytest.mark.parametrize("text", ["'010'", '"1:30"', "'2026-01-02'", "!!str 010", "08 apples", "0o10"])
def test_text_that_looks_like_a_number_stays_text(text: str) -> None:
    assert isinstance(parse_yaml(f"a: {text}", "s.yaml")["a"], str)


@pytest.mark.parametrize("date", ["2026-01-02", "2026-99-99", "2026-01-02 10:00:00"])
def test_a_date_is_refused(date: str) -> None:
    assert (
        refusal(f"a:\n  b: {date}")
        == f"s.yaml: line 2: {date} is read as a date, which no field takes: put it in quotes"
    )


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a: " + "{b: " * 20_000, '{"a":' * 100_000 + "1" + "}" * 100_000, "- " * 50_000]
)
def test_nesting_without_end_is_a_sentence(text: str) -> None:
    assert refusal(text).startswith("s.yaml: nested too deeply to be read")


@pytest.mark.parametrize(
    "text", ["a: [", "a: *b", "a: !!python/name:os.getcwd", "a\tb: :", "--- 1\n--- 2", "? [1]\n: 2", "a: \x00"]
)
def test_what_is_no_yaml_is_a_sentence(text: str) -> None:
    said = refusal(text)
    assert said.startswith("s.yaml: not valid YAML: ")
    assert "\n" not in said


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_another_encoding_than_utf_8_is_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes("name: café\n".encode(encoding))
    with pytest.raises(StudyError) as error:
        read_yaml(path)
    assert str(error.value).startswith(f"{path}: not ")


def test_a_byte_order_mark_and_json_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    for content in (yaml.safe_dump(MINIMAL).encode("utf-8-sig"), json.dumps(MINIMAL, indent="\t").encode()):
        path.write_bytes(content)
        assert load_study(path) == parse_study(MINIMAL, "s.yaml")


@pytest.mark.parametrize("text", ["a: &x {b: *x}\n", "a: &x [*x]\n"])
def test_a_section_that_holds_itself_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(MINIMAL) + text)
    with pytest.raises(StudyError, match=r"s\.yaml: "):
        load_study(path)


@pytest.mark.parametrize("place", ["title", "training", "seeds", "models", "decoder", "unknown"])
def test_aliases_that_make_a_few_lines_endless_are_a_sentence(tmp_path: Path, place: str) -> None:
    rows = ["x0: &x0 [a, a, a, a, a, a, a, a, a, a]"]
    rows += [f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 10)}]" for level in range(1, 30)]
    path = tmp_path / "s.yaml"
    content = {key: value for key, value in MINIMAL.items() if key != place}
    path.write_text(yaml.safe_dump(content) + "\n".join(rows) + f"\n{place}: *x29\n")
    with pytest.raises(StudyError) as error:
        load_study(path)
    # Beside the path, which is as long as the folder of the tests.
    assert all(len(line.removeprefix(str(path))) < 240 for line in str(error.value).splitlines())


def test_the_lock_file_is_read_as_strictly(tmp_path: Path) -> None:
    path = tmp_path / "s.lock.yaml"
    path.write_text(f"org/name:\n  main: {'a' * 40}\norg/name:\n  next: {'b' * 40}\n")
    with pytest.raises(StudyError, match="lines 1 and 3: the key 'org/name' is written twice"):
        read_lock(path)


# --- several files, and --config ---

FIRST = MINIMAL | {
    "seeds": [1, 2],
    "training": {"steps": 5, "batch": 2},
    "alignment": {"sft": {"steps": 3, "batch": 7}, "dpo": {"beta": 0.3}},
    "specialization": {"estimators": ["hellinger", "entropy_profile"]},
}
SECOND = {
    "seeds": [3],
    "training": {"batch": 9},
    "alignment": {"sft": {"warmup": 1}},
    "stability": {"random_refits": 2},
}


@pytest.mark.parametrize(
    ("contents", "changes"),
    [
        ([FIRST], ["training={batch: 64}"]),
        ([FIRST], ["alignment={sft: {steps: 4}, dpo: {warmup: 2}}", "name=pilot"]),
        ([FIRST], ["seeds=[5, 6]", "training={steps: 010}"]),
        ([FIRST], ["training={steps: 4}", "training={batch: 4}"]),
        ([FIRST], ["training=1", "training={batch: 4}"]),
        ([FIRST], ["title='twelve'", "seeds=[7]", "comparison={level: .1}"]),
        ([FIRST], ["title=2026-01-02"]),
        ([FIRST, SECOND], []),
        ([SECOND, FIRST], ["stability={random_refits: 0, groups: []}"]),
        ([FIRST, SECOND, {"training": {"steps": 1}, "models": MINIMAL["models"][:1]}], ["training={tokens: 16}"]),
    ],
)
def test_a_study_is_merged_as_by_snakemake(tmp_path: Path, contents: list[dict[str, Any]], changes: list[str]) -> None:
    paths = [tmp_path / f"{position}.yaml" for position in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(yaml.safe_dump(content))
    # What `snakemake --configfile … --config …` hands to the Snakefile.
    expected = ConfigSettings(config=parse_config(changes), configfiles=paths).overwrite_config
    assert load_study(*paths, changes=changes) == parse_study(expected, "s.yaml")


def test_one_key_of_a_section_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(FIRST))
    training = load_study(path, changes=["training={batch: 64}"]).training
    assert (training.steps, training.batch) == (5, 64)


def test_expressions_of_a_template_of_snakemakes_are_evaluated(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    template = {"__use_yte__": True, "training": {"steps": "?2 * 3"}}
    path.write_text(yaml.safe_dump(MINIMAL | template))
    assert load_study(path).training.steps == 6
    path.write_text(yaml.safe_dump(MINIMAL | template | {"title": "?absent"}))
    with pytest.raises(StudyError, match=r"s\.yaml: not read by Snakemake: .*absent"):
        load_study(path)


WRITTEN = [
    *("name=pilot", "name=12", "level=.5", "level=1e3", "name=1_000", "name=nan", "flag=True", "flag=true", "name="),
    *("seeds=[1, 010, 1:30]", "training={steps: 5, tokens: {a: null}}", "title='quoted'", 'title="a: b"', "title=a=b"),
    *(
        "title=2026-01-02",
        "title=[unclosed",
        "title={a: b",
        "title=: :",
        "a-b=1",
        "_a=1",
        "title=?x",
        "title=~",
        "title= 7 ",
    ),
    *("training={a: 1, a: 2}", "title=*x", "title=\t", "title=" + "9" * 400, "title=💡", "title=- a", "title='"),
    *("title= 7 ", "title=" + "[" * 100_000),
]


@pytest.mark.parametrize("change", WRITTEN)
def test_a_change_is_read_as_by_snakemake(change: str) -> None:
    def shown(content: dict[str, Any]) -> str:
        return repr(content)  # not equality: nan

    assert shown(parse_change(change)) == shown(parse_config([change]))


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_any_value_is_read_as_by_snakemake(value: str) -> None:
    try:
        expected = parse_config([f"title={value}"])
    except AssertionError:  # an empty document in YAML; Snakemake ends with a traceback
        expected = {"title": None}
    assert repr(parse_change(f"title={value}")) == repr(expected)


@pytest.mark.parametrize("change", ["seeds", "=3", "1a=3", "a b=3", "a=3"])
def test_a_change_that_is_none_is_named(change: str) -> None:
    with pytest.raises(ValueError, match="Invalid config definition"):
        parse_config([change])
    with pytest.raises(StudyError, match=f"--config {change}: not KEY=VALUE"):
        parse_change(change)


def test_no_executor_plugin_is_loaded(root: Path) -> None:
    """Slurm's plugin asks the controller, and waits where it is down."""
    command = ["verify", "config/config.yaml", "--config", "training={batch: 2}", "--config", "name=x"]
    code = f"""
import sys
from headwise.cli import app
app({command!r}, standalone_mode=False)
print([name for name in sys.modules if name.startswith(("snakemake_executor_plugin", "snakemake.cli", "torch"))])
"""
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"
