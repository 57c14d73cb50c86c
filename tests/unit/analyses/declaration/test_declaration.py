"""The declaration of a study is kept, and a change of it after the fact is seen."""

from dataclasses import replace

import numpy as np
import pytest
from report_examples import build_tables, example_study, write_inputs

from headwise.analyses.declaration.declare import check_declaration, declaration_of, declare
from headwise.analyses.declaration.report.part import declaration_findings, passages
from headwise.analyses.declaration.rows import DeclaredField
from headwise.analyses.declaration.undeclared import why_undeclared
from headwise.analyses.questions.settings import Question
from headwise.report.findings import findings
from headwise.runtime.json_files import read_json
from headwise.runtime.provenance import json_digest
from headwise.study.comparison import Comparison
from headwise.tables.files import read_rows


@pytest.fixture
def declared(tmp_path):
    declare(Comparison(), tmp_path / "declaration.json")
    return tmp_path / "declaration.json"


def findings_after(declaration, settings):
    table = declaration.with_name("declaration.parquet")
    check_declaration(declaration, settings, "example", table)
    tables = {"declaration": read_rows(DeclaredField, table)}
    (finding,) = declaration_findings(example_study(), tables)
    return finding, tables


def test_a_declaration_that_stands(declared):
    assert read_json(declared)["digest"] == json_digest(declaration_of(Comparison()))
    finding, tables = findings_after(declared, Comparison())
    assert not finding.headline
    assert tables["declaration"]["changed"].eq(False).all()


def test_settings_that_promise_nothing_may_change(declared):
    finding, _ = findings_after(declared, Comparison(resamples=999))
    assert not finding.headline


def test_a_published_effect_that_is_added_declares_nothing_else():
    asked = Question(name="q", ask="effect", method="dpo")
    known = asked.model_copy(update={"published": -0.1, "title": "Does it?"})
    assert declaration_of(Comparison(), [asked]) == declaration_of(Comparison(), [known])
    fewer = asked.model_copy(update={"claim": "falls"})
    assert declaration_of(Comparison(), [asked]) != declaration_of(Comparison(), [fewer])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"primary": "js_divergence"}, 'primary was "hellinger", is "js_divergence"'),
        ({"equivalence_margin": 0.05}, "equivalence margin was 0.02, is 0.05"),
        ({"confirmatory": ["alignment_pooled"]}, 'is ["alignment_pooled"]'),
        ({"level": 0.1}, "level was 0.05, is 0.1"),
    ],
)
def test_a_change_after_the_fact_is_on_the_first_screen(declared, changes, words):
    finding, tables = findings_after(declared, Comparison(**changes))
    assert finding.headline
    assert words in finding.numbers
    assert "No test counts as declared in advance" in finding.sentence
    digests = tables["declaration"].iloc[0]
    (passage,) = passages(example_study(), tables)
    assert digests["declared_digest"] in passage.paragraphs[0]
    assert digests["current_digest"] in passage.paragraphs[0]
    assert digests["declared_digest"] != digests["current_digest"]


def test_a_declaration_that_comes_after_results_says_so(tmp_path):
    results = tmp_path / "specialization" / "a"
    results.mkdir(parents=True)
    (results / "summary.parquet").write_bytes(b"")
    declare(Comparison(), tmp_path / "declaration.json")
    finding, _ = findings_after(tmp_path / "declaration.json", Comparison())
    assert finding.headline
    assert "results were there already" in finding.sentence


def test_a_late_declaration_that_changed_as_well_says_both(tmp_path):
    (tmp_path / "specialization").mkdir()
    (tmp_path / "specialization" / "summary.parquet").write_bytes(b"")
    declare(Comparison(), tmp_path / "declaration.json")
    finding, _ = findings_after(tmp_path / "declaration.json", Comparison(level=0.1))
    assert "results were there already" in finding.sentence
    assert "level was 0.05, is 0.1" in finding.numbers


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(example_study(), tmp_path_factory.mktemp("inputs"), np.random.default_rng(1))


def tables_of(study, inputs, folder, kept, results_existed=False):
    """All tables of a study whose kept declaration is `kept`."""
    results = folder / "specialization"
    if results_existed:
        results.mkdir()
        (results / "summary.parquet").write_bytes(b"")
    declare(kept, folder / "declaration.json")
    check_declaration(folder / "declaration.json", study.comparison, study.name, folder / "declaration.parquet")
    return build_tables(study, replace(inputs, analyses=[folder / "declaration.parquet"]))


def roles_of(tables):
    return {role for name in ("comparisons", "contrasts") for role in tables[name]["role"]}


def test_with_a_declaration_that_stands_tests_are_confirmatory(inputs, tmp_path):
    study = example_study()
    tables = tables_of(study, inputs, tmp_path, study.comparison)
    assert "confirmatory" in roles_of(tables)
    assert any(finding.confirmatory for finding in findings(study, tables))


@pytest.mark.parametrize(
    ("now", "results_existed", "why"),
    [
        ({"primary": "js_divergence"}, False, "primary"),
        ({"confirmatory": ["comparison"]}, False, "confirmatory"),
        ({"level": 0.1}, False, "level"),
        ({}, True, "the declaration was written when results were there already"),
    ],
)
def test_tests_that_were_declared_otherwise_are_exploratory(inputs, tmp_path, now, results_existed, why):
    study = example_study(**now)
    tables = tables_of(study, inputs, tmp_path, Comparison(), results_existed)
    assert roles_of(tables) == {"exploratory"}
    assert not any(finding.confirmatory for finding in findings(study, tables))
    reason = why if results_existed else f"declared otherwise before results were there: {why}"
    assert why_undeclared(tables["declaration"]) == reason
    for name in ("comparisons", "contrasts"):
        tests = tables[name]
        assert set(tests["adjustment"].dropna().str.split(" over ").str[0]) == {"Benjamini–Hochberg"}
        named = tests["reason"].str.contains(reason, regex=False, na=False)
        assert set(tests.loc[named, "estimator"]) <= {study.comparison.primary}
        if name == "comparisons":
            assert named.sum() == len(study.descendants()) * len(study.seeds)
    (count,) = [finding for finding in findings(study, tables) if finding.id == "alignment"]
    assert "exploratory tests" in count.numbers
    assert "Benjamini–Hochberg-adjusted" in count.numbers
