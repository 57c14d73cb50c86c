"""The control panel of the report: each control, its known answer, what was found, pass or fail."""

from collections.abc import Iterator

from headwise.analyses.controls.control import Control, Outcome
from headwise.analyses.controls.report.panel import control_panel
from headwise.report.columns import Tables
from headwise.report.finding import Finding, described
from headwise.report.labels import amount, missing
from headwise.report.part import Light, Part, Passage
from headwise.report.view import NAME, NUMBER, TEXT, view
from headwise.study.study import Study
from headwise.tables.frame import records


def light(tables: Tables) -> Light | None:
    """How many controls pass, or fail."""
    run = tables["controls"]
    run = run[run["outcome"] != Outcome.NOT_RUN]
    if run.empty:
        return None
    failed = int(run["outcome"].eq(Outcome.FAIL).sum())
    words = f"{failed} of {len(run)} controls fail" if failed else f"{len(run)} of {len(run)} controls pass"
    return Light(not failed, words)


def control_findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """How many controls pass; those that fail by name."""
    rows = tables["controls"]
    run = rows[rows["outcome"] != Outcome.NOT_RUN]
    if run.empty:
        return
    failed = [row["control"] for row in records(run[run["outcome"] == Outcome.FAIL])]
    yield described(
        "a count of controls",
        id="check:controls",
        topic="check",
        headline=bool(failed),
        sentence=f"{len(run) - len(failed)} of {amount(len(run), 'control')} with a known answer pass.",
        numbers=f"failed: {', '.join(failed)}" if failed else "",
        n=len(run),
        unit="control",
    )


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """The panel."""
    rows = tables["controls"]
    if rows.empty:
        return
    panel = view(
        rows,
        [
            ("Control", lambda row: row["control"], TEXT),
            ("Asked of", lambda row: row["basis"], TEXT),
            ("Known answer", lambda row: row["expected"], TEXT),
            ("Found", lambda row: number(row["found"]), NUMBER),
            ("Tolerance", lambda row: number(row["tolerance"]), NUMBER),
            ("Outcome", lambda row: row["outcome"], NAME),
            ("Remark", lambda row: row["reason"] or "", TEXT),
        ],
    )
    yield Passage(
        "Questions with a known answer",
        ("Each control asks the software in use something whose answer is known in advance.",),
        [(panel, "Control panel")],
    )


def number(value: object) -> str:
    """Three digits, whatever the size; a dash where there is none."""
    return "–" if missing(value) else f"{float(str(value)):.3g}".replace("-", "−")


PART = Part(
    name="controls",
    title="Controls",
    tables=(Control,),
    findings=control_findings,
    light=light,
    passages=passages,
    completed=lambda tables: {"controls": control_panel(tables)} if "controls" in tables else {},
)
