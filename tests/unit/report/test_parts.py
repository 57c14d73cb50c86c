"""An analysis beside specialization reaches tables, figures, findings and page through its Part."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import altair as alt
import numpy as np
import pandas as pd
import pytest
from report_examples import aggregate, build_tables, example_study, write_inputs

from headwise.report import parts
from headwise.report.columns import Tables
from headwise.report.figures import draw_figures
from headwise.report.finding import described
from headwise.report.page import write_page
from headwise.report.part import Chart, Part, Passage
from headwise.report.tables import ReportError, read_tables
from headwise.report.view import NAME, NUMBER, view
from headwise.runtime.json_files import read_json
from headwise.runtime.parquet import write_table
from headwise.study.study import Study
from headwise.tables.cells import TableError
from headwise.tables.row import Row, column, columns_of

STUDY = example_study(bases=("solo",), methods=(), seeds=(7,))


@dataclass(frozen=True, kw_only=True)
class Echo(Row):
    """What came back of a model."""

    table: ClassVar[str] = "echoes"
    model: str = column("Name")
    echo: float = column("What came back")
    why: str | None = column("Reason", default=None)


ROWS = pd.DataFrame({"model": ["solo", "solo"], "echo": [0.25, 0.5]})


def chart(study: Study, tables: Tables) -> alt.Chart | None:
    rows = tables["echoes"]
    return None if rows.empty else alt.Chart(rows).mark_point().encode(x="echo:Q", y="model:N")


PART = Part(
    name="echo",
    title="What comes back",
    tables=(Echo,),
    charts=lambda study: [Chart("echo_points", chart, "Echoes", "A point per echo.")],
    findings=lambda study, tables: [
        described("a count", id="echo", topic="check", headline=False, sentence="Echoes were heard.", n=2, unit="echo")
        for _ in range(not tables["echoes"].empty)
    ],
    passages=lambda study, tables: [
        Passage(
            "Every echo",
            ["Louder < than & before."],
            [
                (
                    view(
                        rows,
                        [("Model", lambda row: row["model"], NAME), ("Echo", lambda row: str(row["echo"]), NUMBER)],
                    ),
                    "All",
                )
            ],
        )
        for rows in [tables["echoes"]]
        if not rows.empty
    ],
)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PARTS", (*parts.PARTS, PART))
    monkeypatch.setattr(parts, "TABLES", {**parts.TABLES, "echoes": columns_of(Echo)})


def report(folder: Path, analyses: list[Path]) -> str:
    inputs = replace(write_inputs(STUDY, folder / "inputs", np.random.default_rng(3)), analyses=analyses)
    aggregate(STUDY, inputs, tables=folder / "tables", results=folder / "results.json")
    draw_figures(STUDY, tables=folder / "tables", folder=folder / "figures")
    paths = {"results": folder / "results.json", "figures": folder / "figures", "page": folder / "report.html"}
    write_page(STUDY, tables=folder / "tables", **paths)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_a_part_reaches_every_output(tmp_path: Path) -> None:
    table = tmp_path / "analyses" / "echoes.parquet"
    write_table(ROWS, table, {"study": STUDY.name})
    page = report(tmp_path, [table])
    assert read_tables(tmp_path / "tables")["echoes"]["echo"].tolist() == [0.25, 0.5]
    assert (tmp_path / "tables" / "echoes.csv").read_text().splitlines()[0] == "model,echo,why"
    listed = {figure["name"]: figure["part"] for figure in read_json(tmp_path / "figures" / "figures.json")}
    assert listed["echo_points"] == "echo"
    assert listed["specialization"] == "specialization"
    assert "Echoes were heard." in [each["sentence"] for each in read_json(tmp_path / "results.json")["findings"]]
    section = page[page.index('<h3 id="echo">') :]
    for shown in ("What comes back", "Every echo", "Louder &lt; than &amp; before.", "0.5", 'data-name="echo_points"'):
        assert shown in section


def test_a_study_without_the_analysis_has_no_trace_of_it(tmp_path: Path) -> None:
    page = report(tmp_path, [])
    assert not list((tmp_path / "tables").glob("echoes*"))
    assert read_tables(tmp_path / "tables")["echoes"].empty
    assert "What comes back" not in page


def test_a_table_that_does_not_belong_is_refused(tmp_path: Path) -> None:
    inputs = write_inputs(STUDY, tmp_path / "inputs", np.random.default_rng(3))
    for name, study, rows, error, message in (
        ("noises", STUDY.name, ROWS, ReportError, "no table 'noises'"),
        ("echoes", "another", ROWS, ReportError, "belongs to study 'another'"),
        ("echoes", STUDY.name, ROWS.drop(columns="echo"), TableError, "column 'echo' is missing"),
    ):
        path = tmp_path / f"{name}.parquet"
        write_table(rows, path, {"study": study})
        with pytest.raises(error, match=message):
            build_tables(STUDY, replace(inputs, analyses=[path]))
