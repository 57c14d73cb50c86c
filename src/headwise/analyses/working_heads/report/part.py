"""Working heads in the report: the table, how many models have them, and a remark on every test of those without."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from headwise.analyses.working_heads.rows import WorkingHeadsRow
from headwise.report.columns import Tables
from headwise.report.finding import Finding, described
from headwise.report.labels import amount, cell, missing, number, plain
from headwise.report.part import Light, Part, Passage
from headwise.report.view import NAME, NUMBER, view
from headwise.statistics.result import joined
from headwise.study.study import Study
from headwise.tables.frame import records

# Tables of what is said about heads, by the columns that name models.
ABOUT_HEADS = {
    "comparisons": ("aligned", "base"),
    "contrasts": ("group", "reference"),
    "noise_contrasts": ("group", "reference"),
    "stability": ("group",),
}


# Topics of findings that say nothing of what heads do.
NOT_ABOUT_HEADS = ("check", "training")


def shortcomings(row: Mapping[str, Any]) -> str:
    """What one refit falls short of, in words."""
    parts = [
        None if row["attention_works"] else f"attention is worth {number(row['attention_worth_nats'], 2)} nats",
        None
        if row["below_bigram"]
        else f"its loss of {number(row['loss_nats'], 2)} nats is not below the {number(row['bigram_loss_nats'], 2)} of "
        "a bigram",
        None
        if row["previous_token_works"]
        else f"no head attends to the previous token by more than {number(row['previous_token'], 2)}",
    ]
    return ", ".join(part for part in parts if part)


def without_working_heads(rows: pd.DataFrame) -> dict[str, str]:
    """By model: that it has no working heads, and why; of the first refit that has none."""
    failed = records(rows[~rows["works"].astype(bool)])
    return {
        row["model"]: f"{plain(row['model'])} has no working heads ({shortcomings(row)}; refit {row['seed']})"
        for row in reversed(failed)
    }


def marked_tests(tables: Tables) -> dict[str, pd.DataFrame]:
    """The tables of what is said about heads; what is said of a model without working heads says so in `reason`."""
    rows = tables.get("working_heads")
    clauses = {} if rows is None or rows.empty else without_working_heads(rows)
    if not clauses:
        return {}
    return {
        name: _marked(tables[name], columns, clauses)
        for name, columns in ABOUT_HEADS.items()
        if name in tables and not tables[name].empty
    }


def _marked(tests: pd.DataFrame, columns: tuple[str, ...], clauses: Mapping[str, str]) -> pd.DataFrame:
    reasons = [
        joined(
            None if missing(row["reason"]) else row["reason"],
            *(clauses.get(str(row[column])) for column in columns if not missing(row[column])),
        )
        for row in records(tests)
    ]
    return tests.assign(reason=pd.array(reasons, dtype="string"))


def remark(tables: Tables, finding: Finding) -> str | None:
    """How many refits of the models that a finding is about have no working heads; None where all have, and of findings
    about checks and training."""
    rows = tables.get("working_heads")
    if rows is None or rows.empty or finding.topic in NOT_ABOUT_HEADS:
        return None
    if finding.about:
        rows = rows[rows["model"].isin(finding.about)]
    failed = len(rows) - int(rows["works"].sum())
    return f"{failed} of {amount(len(rows), 'refit')} without working heads" if failed else None


def light(tables: Tables) -> Light | None:
    """In how many models heads do something."""
    rows = tables["working_heads"]
    if rows.empty:
        return None
    working = int(rows["works"].sum())
    return Light(working == len(rows), f"heads work in {working} of {amount(len(rows), 'model')}")


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """How many models have working heads; those without by name."""
    rows = tables["working_heads"]
    if rows.empty:
        return
    clauses, working = without_working_heads(rows), int(rows["works"].sum())
    yield described(
        "a description, not a test",
        id="check:working-heads",
        topic="check",
        headline=bool(clauses),
        sentence=f"{working} of {amount(len(rows), 'model')} (each refit counts) have working heads.",
        numbers="; ".join(clauses.values()),
        n=len(rows),
        unit="refit",
    )


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """The table."""
    rows = tables["working_heads"]
    if rows.empty:
        return
    table = view(
        rows,
        [
            ("Model", lambda row: row["model"], NAME),
            ("Refit", lambda row: str(row["seed"]), NUMBER),
            ("Attention is worth, nats", lambda row: number(row["attention_worth_nats"]), NUMBER),
            ("Held-out loss, nats", lambda row: number(row["loss_nats"]), NUMBER),
            ("Of a bigram, nats", lambda row: number(row["bigram_loss_nats"]), NUMBER),
            ("Best previous-token head", lambda row: number(row["previous_token"], 2), NUMBER),
            ("Layer", lambda row: cell(row["layer"]), NUMBER),
            ("Head", lambda row: cell(row["head"]), NUMBER),
            ("Working heads", lambda row: "yes" if row["works"] else "no", NAME),
        ],
    )
    yield Passage(
        "Is there anything to measure?",
        (
            "A difference between heads means something where heads do something. A model has working heads if its "
            "held-out loss rises enough where all attention layers write zeros, lies below that of an interpolated "
            "bigram fitted on as many tokens as training saw, and some head attends to the previous token.",
        ),
        [(table, "Each model that was trained here, by refit")],
    )


PART = Part(
    name="working_heads",
    title="Working heads",
    tables=(WorkingHeadsRow,),
    findings=findings,
    light=light,
    passages=passages,
    completed=marked_tests,
    remark=remark,
)
