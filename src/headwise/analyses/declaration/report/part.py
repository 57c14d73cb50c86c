"""What was declared in advance, and whether it still is what the study file says."""

from collections.abc import Iterator

from headwise.analyses.declaration.rows import DeclaredField
from headwise.analyses.declaration.undeclared import LATE
from headwise.report.columns import Tables
from headwise.report.finding import Finding, described
from headwise.report.labels import amount, plain
from headwise.report.part import Light, Part, Passage
from headwise.report.view import NAME, TEXT, view
from headwise.study.study import Study
from headwise.tables.frame import records

NOTHING = "No test counts as declared in advance"
RESTORE = "with these fields as they were, tests count as declared again"


def light(tables: Tables) -> Light | None:
    """Whether tests count as declared in advance."""
    rows = tables["declaration"]
    if rows.empty:
        return None
    if rows["results_existed"].any():
        return Light(False, "declared after results existed")
    changed = int(rows["changed"].sum())
    words = f"declaration changed in {amount(changed, 'field')}" if changed else "declared in advance"
    return Light(not changed, words)


def declaration_findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """A change of the declaration, or one that came late, is said on the first screen."""
    rows = tables["declaration"]
    if rows.empty:
        return
    changed = records(rows[rows["changed"]])
    late = bool(rows["results_existed"].any())
    named = "; ".join(f"{plain(row['field'])} was {row['declared']}, is {row['now']}" for row in changed)
    numbers = named
    if late:
        sentence = f"{NOTHING}: {LATE}."
        numbers = f"it has changed since: {named}" if changed else ""
    elif changed:
        sentence = f"{NOTHING}: the declaration was changed after the study first ran."
        numbers = f"{named}; {RESTORE}"
    else:
        sentence = "What the study declares is what it declared before attention was measured."
    yield described(
        "a comparison of two files",
        id="check:declaration",
        topic="check",
        headline=bool(changed) or late,
        sentence=sentence,
        numbers=numbers,
        n=len(rows),
        unit="field",
    )


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """Both declarations, field by field."""
    rows = tables["declaration"]
    if rows.empty:
        return
    shown = view(
        rows,
        [
            ("Field", lambda row: plain(row["field"]), NAME),
            ("Declared", lambda row: row["declared"], TEXT),
            ("Now", lambda row: row["now"], TEXT),
            ("Changed", lambda row: "yes" if row["changed"] else "no", NAME),
        ],
    )
    first = rows.iloc[0]
    yield Passage(
        "Declared before anything was measured",
        (
            "The declaration was written to declaration.json before attention was measured, and is never written "
            f"again. Its SHA-256 is {first['declared_digest']}; that of today's study file is "
            f"{first['current_digest']}.",
        ),
        [(shown, "The declaration, when the study first ran and now")],
    )


PART = Part(
    name="declaration",
    title="Declaration",
    tables=(DeclaredField,),
    findings=declaration_findings,
    light=light,
    passages=passages,
)
