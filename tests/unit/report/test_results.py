"""results.json: its schema, its agreement with the tables, and the honesty of its sentences."""

import json
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from project import ROOT
from report_examples import PROMPTS, aggregate, build_tables, example_study, write_inputs

from headwise.report.columns import Tables
from headwise.report.finding import MOST_WORDS
from headwise.report.results import ROWS, Results, main_rows, results_schema, summarize
from headwise.report.tables import read_tables
from headwise.report.verdicts import verdict_and_why
from headwise.runtime.json_files import read_json
from headwise.study.study import Study
from headwise.tables.frame import records

SCHEMA_FILE = ROOT / "workflow" / "schemas" / "results.schema.json"
STUDIES = {
    "three families": example_study(),
    "one model": example_study(bases=("solo",), methods=(), seeds=(7,)),
    "one pair at one seed": example_study(bases=("solo",), methods=("sft",), seeds=(7,)),
    "no aligned model": example_study(bases=("one", "two"), methods=(), seeds=(1, 2, 3)),
    "another primary": example_study(bases=("one", "two"), seeds=(1, 2), primary="entropy_profile", level=0.1),
}


@pytest.fixture(scope="module", params=list(STUDIES))
def reported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Study, dict[str, Any], Tables]:
    """A study, its results.json as parsed, and its tables as read."""
    study, folder = STUDIES[request.param], tmp_path_factory.mktemp("study")
    inputs = write_inputs(study, folder / "inputs", np.random.default_rng(5))
    aggregate(study, inputs, tables=folder / "tables", results=folder / "results.json")
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"), parse_constant=refuse)
    return study, content, read_tables(folder / "tables")


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_the_published_schema_is_that_of_the_models() -> None:
    published = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(published)
    assert published == results_schema(), "run headwise schema --results --output workflow/schemas/results.schema.json"


def test_the_schema_allows_nothing_that_it_does_not_name() -> None:
    schema = results_schema()
    objects = [schema, *(each for each in schema["$defs"].values() if each["type"] == "object")]
    free = {"Provenance.versions"}  # names of libraries
    assert len(objects) == 5 + len(ROWS)
    for each in objects:
        assert each["additionalProperties"] is False
        assert set(each["required"]) == set(each["properties"])
        for name, field in each["properties"].items():
            if f"{each['title']}.{name}" not in free:
                assert "additionalProperties" not in field


def test_results_validate(reported: tuple[Study, dict[str, Any], Any]) -> None:
    _, content, _ = reported
    validator = jsonschema.Draft202012Validator(results_schema())
    validator.validate(content)
    assert list(validator.iter_errors({**content, "surprise": 1}))
    assert list(validator.iter_errors({key: value for key, value in content.items() if key != "findings"}))
    assert Results.model_validate(content).model_dump(mode="json") == content


def test_rows_are_those_of_the_tables(reported: tuple[Study, dict[str, Any], Tables]) -> None:
    _, content, tables = reported
    for name, rows in main_rows(tables).items():
        assert content[name] == records(rows)
    layers = [row for row in records(tables["comparisons"]) if row["level"] == "layer"]
    assert len(content["comparisons"]) == len(tables["comparisons"]) - len(layers)


def test_counts(reported: tuple[Study, dict[str, Any], Tables]) -> None:
    study, content, tables = reported
    measured = content["measured"]
    assert measured["models"] == len(study.models)
    assert measured["bases"] == len(study.bases())
    assert measured["aligned"] == len(study.descendants())
    assert measured["checkpoints"] == sum(len(study.seeds_of(model)) for model in study.models)
    assert (measured["prompts"], measured["prompt_domains"]) == (PROMPTS, 2)
    for role in ("confirmatory", "exploratory"):
        counted = [
            row
            for name in ("comparisons", "contrasts")
            for row in records(tables[name])
            if row["role"] == role and row["p"] is not None
        ]
        assert measured[f"{role}_tests"] == len(counted)


def test_every_number_that_is_null_has_a_reason(reported: tuple[Study, dict[str, Any], Any]) -> None:
    _, content, _ = reported
    for finding in content["findings"]:
        if None in (finding["estimate"], finding["interval"], finding["p"]):
            assert finding["reason"], finding["id"]
    for row in content["specialization"]:
        assert row["value"] is not None or row["reason"]
    for name in ("comparisons", "contrasts"):
        for row in content[name]:
            assert row["p"] is not None or row["reason"]


def test_every_p_stands_beside_the_smallest_attainable_one(reported: tuple[Study, dict[str, Any], Any]) -> None:
    _, content, _ = reported
    for row in [*content["findings"], *content["comparisons"], *content["contrasts"]]:
        if row["p"] is not None:
            assert row["p_attainable"] is not None
            assert row["p_adjusted"] >= row["p"] >= row["p_attainable"]


def test_findings_rest_on_rows_of_the_tables(reported: tuple[Study, dict[str, Any], Any]) -> None:
    study, content, _ = reported
    rows = [*content["comparisons"], *content["contrasts"]]
    rows = [row for row in rows if row["estimator"] == study.comparison.primary and row["sink"] == "kept"]
    for finding in content["findings"]:
        if finding["p"] is None:
            continue
        resting = [
            row
            for row in rows
            if row.get("estimate", row.get("delta_absolute")) == finding["estimate"]
            and [row["ci_low"], row["ci_high"]] == finding["interval"]
            and (row["p"], row["n"], row["unit"]) == (finding["p"], finding["n"], finding["unit"])
        ]
        assert len(resting) == 1, finding["id"]
        assert (resting[0]["role"] == "confirmatory") == finding["confirmatory"]
        assert verdict_and_why(resting[0])[0] in finding["sentence"]


def test_sentences_read_well(reported: tuple[Study, dict[str, Any], Any]) -> None:
    _, content, _ = reported
    identities = [finding["id"] for finding in content["findings"]]
    assert len(set(identities)) == len(identities)
    assert any(finding["headline"] for finding in content["findings"])
    for finding in content["findings"]:
        sentence = finding["sentence"]
        assert sentence.endswith(".")
        assert len(sentence.split()) <= MOST_WORDS, sentence
        for blemish in ("_", "nan", "None", "NA", "  ", "..", "1 tests", "1 models", "1 refits"):
            assert blemish not in sentence, sentence
        assert not sentence[0].islower()


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Tables, dict[str, Any]]:
    study, folder = STUDIES["three families"], tmp_path_factory.mktemp("default")
    inputs = write_inputs(study, folder / "inputs", np.random.default_rng(5))
    return study, build_tables(study, inputs), read_json(inputs.prompts)


def sentence(study: Study, tables: Tables, prompts: dict[str, Any], identity: str) -> str:
    content = summarize(study, tables, prompts)
    (found,) = [finding for finding in content["findings"] if finding["id"] == identity]
    return f"{found['sentence']} {found['numbers']}"


def test_the_first_sentence_counts_the_verdicts(default: tuple[Study, Tables, dict[str, Any]]) -> None:
    study, tables, prompts = default
    declared = tables["comparisons"][tables["comparisons"]["role"] == "confirmatory"]
    verdicts = pd.Series([verdict_and_why(row)[0] for row in records(declared)])
    said = sentence(study, tables, prompts, "alignment")
    for verdict, count in verdicts.value_counts().items():
        assert f"{count} {verdict}" in said
    assert f"{len(verdicts)} confirmatory tests: 6 aligned models" in said


@pytest.mark.parametrize(
    ("change", "largest_change", "reading"),
    [
        (0.004, 0.01, "in 27 of 27 models its value is like that of a random order"),
        (0.004, 0.01, "No order moves it much: it measures a profile over depth, not how heads differ."),
        (0.004, 0.3, "differences between models of that size say nothing about heads."),
        (0.3, 0.3, "in 0 of 27 models"),
        (0.3, 0.3, "The numbering of heads matters to it."),
    ],
)
def test_shuffling_heads_is_read_by_how_much_it_changes(
    change: float, largest_change: float, reading: str, default: tuple[Study, Tables, dict[str, Any]]
) -> None:
    study, tables, prompts = default
    shuffled = tables["checks"].assign(change=change, largest_change=largest_change)
    shuffled = shuffled[shuffled["estimator"] == "entropy_profile"]
    identity = "check:head-permutation:entropy_profile"
    assert reading in sentence(study, {**tables, "checks": shuffled}, prompts, identity)


def test_shuffling_heads_is_no_finding_where_their_order_cannot_matter(
    default: tuple[Study, Tables, dict[str, Any]],
) -> None:
    findings = summarize(*default)["findings"]
    names = [each["id"] for each in findings if each["id"].startswith("check:head-permutation")]
    assert names == ["check:head-permutation:entropy_profile"]


def test_training_is_reported_as_it_went(default: tuple[Study, Tables, dict[str, Any]]) -> None:
    study, tables, prompts = default
    assert sentence(study, tables, prompts, "training").startswith("9 of 9 trained base models")
    models = tables["models"].copy()
    models.loc[models["model"] == "multi_head", "held_out_loss_nats"] = 9.9
    changed = sentence(study, {**tables, "models": models}, prompts, "training")
    assert changed.startswith("6 of 9 trained base models")
    assert "to 9.90 nats" in changed


def test_what_few_units_cannot_show_is_called_undecidable(
    default: tuple[Study, Tables, dict[str, Any]],
) -> None:
    found = {each["id"]: each for each in summarize(*default)["findings"]}
    for identity, p in (("method:sft", 0.25), ("architecture:grouped_query", 0.1)):
        assert found[identity]["sentence"].endswith(" undecidable.")
        assert (found[identity]["answer"], found[identity]["p_attainable"]) == ("undecided", p)


def test_a_further_family_is_predicted_and_every_family_left_out(default: tuple[Study, Tables, dict[str, Any]]) -> None:
    found = sentence(*default, "families:sft")
    assert "the change of a further family is expected at" in found
    assert "(without multi head)" in found
    assert "(without sliding window)" in found


def test_whether_prompts_of_a_domain_move_together_is_said(default: tuple[Study, Tables, dict[str, Any]]) -> None:
    tests = default[1]["comparisons"]
    tests = tests[tests["role"].eq("confirmatory") & tests["p"].le(0.05)]
    found = sentence(*default, "check:domains")
    assert f"Of {len(tests)} changes" in found
    assert f"{int(tests['p_domains'].le(0.05).sum())} keep it" in found
