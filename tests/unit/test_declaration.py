"""The declaration of a study is kept, and a change of it after the fact is seen."""

import pandas as pd
import pytest
from report_examples import example_study

from headwise.declaration import check_declaration, declaration_of, declare
from headwise.provenance import json_digest, read_json
from headwise.report.declaration.part import declaration_findings, passages
from headwise.report.tables import typed
from headwise.study.comparison import Comparison


@pytest.fixture
def declared(tmp_path):
    declare(Comparison(), tmp_path / "specialization", tmp_path / "declaration.json")
    return tmp_path / "declaration.json"


def findings_after(declaration, settings):
    table = declaration.with_name("declaration.parquet")
    check_declaration(declaration, settings, "example", table)
    tables = {"declaration": typed("declaration", pd.read_parquet(table))}
    (finding,) = declaration_findings(example_study(), tables)
    return finding, tables


def test_a_declaration_that_stands(declared):
    assert read_json(declared)["digest"] == json_digest(declaration_of(Comparison()))
    finding, tables = findings_after(declared, Comparison())
    assert not finding.headline
    assert tables["declaration"]["changed"].eq("no").all()


def test_settings_that_promise_nothing_may_change(declared):
    finding, _ = findings_after(declared, Comparison(resamples=999))
    assert not finding.headline


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
    assert words in finding.sentence
    assert "No test here was declared in advance" in finding.sentence
    digests = tables["declaration"].iloc[0]
    (passage,) = passages(example_study(), tables)
    assert digests["declared_digest"] in passage.paragraphs[0]
    assert digests["current_digest"] in passage.paragraphs[0]
    assert digests["declared_digest"] != digests["current_digest"]


def test_a_declaration_that_comes_after_results_says_so(tmp_path):
    results = tmp_path / "specialization" / "a"
    results.mkdir(parents=True)
    (results / "summary.parquet").write_bytes(b"")
    declare(Comparison(), tmp_path / "specialization", tmp_path / "declaration.json")
    finding, _ = findings_after(tmp_path / "declaration.json", Comparison())
    assert finding.headline
    assert "results were there already" in finding.sentence
