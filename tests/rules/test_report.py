"""Rules summarize_specialization, aggregate, draw_figures and write_report."""

import html
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from jsonschema import Draft202012Validator

from headwise.analyses.declaration.rows import DeclaredField
from headwise.analyses.specialization.jobs import TABLES, summary_arguments
from headwise.report.jobs import figure_arguments, report_arguments
from headwise.study.study import Study
from headwise.tables.files import write_rows
from rules.conftest import Measurement

Measure = Callable[[str, int], Measurement]
MODELS = [
    ("multi_head", 1),
    ("multi_head", 2),
    ("grouped_query", 1),
    ("multi_head-sft", 1),
    ("multi_head-sft", 2),
]


@pytest.fixture(scope="module")
def report(
    folder: Path,
    study: Study,
    measure: Measure,
    prompts: tuple[Path, Path],
    comparison: Path,
    contrasts: Path,
    run_script: Callable[..., None],
) -> Path:
    """The folder with tables/, results.json, figures/ and report.html."""
    place = folder / "report"
    made = [measure(*model) for model in MODELS]
    analyses = {table: place / "analyses" / f"{table}.parquet" for table in TABLES}
    declaration = place / "analyses" / "declaration.parquet"
    write_rows(DeclaredField, [], declaration, {"study": study.name})
    run_script(
        "summarize_specialization",
        input={
            "summaries": [one.summary for one in made],
            "heads": [one.descriptors for one in made],
            "pairs": [comparison],
            "models": contrasts,
            "declaration": declaration,
        },
        output=analyses,
        arguments=summary_arguments(study),
    )
    outputs = {"tables": place / "tables", "results": place / "results.json"}
    run_script(
        "aggregate",
        input={
            "checkpoints": [one.checkpoint for one in made],
            "training": [one.curve for one in made],
            "measured": [one.summary for one in made],
            "prompts": prompts[1],
            "analyses": [*analyses.values(), declaration],
        },
        output=outputs,
        arguments=report_arguments(study),
    )
    run_script(
        "draw_figures",
        input={"tables": outputs["tables"]},
        output={"folder": place / "figures"},
        arguments=figure_arguments(study),
    )
    run_script(
        "write_report",
        input={**outputs, "figures": place / "figures"},
        output={"page": place / "report.html"},
        arguments=report_arguments(study),
    )
    return place


def test_tables_hold_what_the_jobs_measured(report: Path, measure: Measure) -> None:
    table = pd.read_parquet(report / "tables" / "specialization.parquet")
    for model, seed in MODELS:
        summary = pd.read_parquet(measure(model, seed).summary)
        expected = summary[summary["scope"] == "model"].set_index(["estimator", "sink"])["value"]
        rows = table[(table["model"] == model) & (table["seed"] == seed) & (table["scope"] == "model")]
        found = rows.set_index(["estimator", "sink"])["value"]
        pd.testing.assert_series_equal(found.sort_index(), expected.sort_index(), check_dtype=False)


def test_csv_says_what_parquet_says(report: Path) -> None:
    for path in (report / "tables").glob("*.parquet"):
        table = pd.read_parquet(path)
        assert len(pd.read_csv(path.with_suffix(".csv"))) == len(table)
        assert path.with_suffix(".csv").read_text().splitlines()[0] == ",".join(table.columns)


def test_confirmatory_p_values_are_holm_adjusted_as_one_set(report: Path) -> None:
    tables = [pd.read_parquet(report / "tables" / f"{name}.parquet") for name in ("comparisons", "contrasts")]
    rows = pd.concat([table[table["role"].eq("confirmatory") & table["p"].notna()] for table in tables])
    assert len(rows) >= 2
    rows = rows.sort_values("p")
    adjusted, largest = [], 0.0
    for place, p in enumerate(rows["p"]):
        largest = max(largest, min(1.0, (len(rows) - place) * p))
        adjusted.append(largest)
    assert rows["p_adjusted"].tolist() == pytest.approx(adjusted)


def test_results_follow_the_published_schema(report: Path, root: Path) -> None:
    schema = json.loads((root / "workflow" / "schemas" / "results.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads((report / "results.json").read_text()))


def test_every_figure_has_three_forms(report: Path) -> None:
    stems = {path.name.removesuffix(".vl.json") for path in (report / "figures").glob("*.vl.json")}
    assert len(stems) >= 5
    for stem in stems:
        assert (report / "figures" / f"{stem}.svg").read_text().startswith("<svg")
        assert (report / "figures" / f"{stem}.pdf").read_bytes().startswith(b"%PDF")


def test_the_page_says_what_was_found(report: Path) -> None:
    page = html.unescape((report / "report.html").read_text())
    findings = json.loads((report / "results.json").read_text())["findings"]
    assert len(findings) > 3
    for finding in findings:
        assert finding["sentence"] in page
