"""The control panel of the report: each control, its known answer, what was found, pass or fail."""

from collections.abc import Iterator

from headwise.analyses.controls.control import FAIL, NOT_RUN, PASS
from headwise.report.columns import Tables
from headwise.report.finding import Finding, described
from headwise.report.labels import amount, missing
from headwise.report.part import Part, Passage
from headwise.report.view import NAME, NUMBER, TEXT, view
from headwise.study.study import Study
from headwise.tables.frame import records
from headwise.tables.row import Column

COLUMNS = (
    Column("control", str, "What is asked"),
    Column("basis", str, "What it was asked of"),
    Column("expected", str, "The known answer"),
    Column("found", float, "What was found", True),
    Column("tolerance", float, "How far it may lie from the known answer", True),
    Column("outcome", str, "pass, fail, or not run"),
    Column("reason", str, "Why it was not run, or what the number is", True),
)


def control_findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """How many controls pass; those that fail by name."""
    rows = tables["controls"]
    run = rows[rows["outcome"] != NOT_RUN]
    if run.empty:
        return
    failed = [row["control"] for row in records(run[run["outcome"] == FAIL])]
    yield described(
        "a count of controls",
        id="check:controls",
        topic="check",
        headline=bool(failed),
        sentence=(
            f"{int(run['outcome'].eq(PASS).sum())} of {amount(len(run), 'control')} with a known answer pass"
            f"{'; failed: ' if failed else ''}{', '.join(failed)}."
        ),
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
    columns={"controls": COLUMNS},
    in_results=("controls",),
    findings=control_findings,
    passages=passages,
)
