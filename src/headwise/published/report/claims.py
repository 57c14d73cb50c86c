"""The claims about the stability of heads in the report: how many hold, each of them, and the table."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from headwise.analyses.stability.names import CORRECTED, PUBLISHED
from headwise.analyses.stability.report.findings import TOPIC, refit_finding
from headwise.analyses.stability.report.views import interval_text, three_digits
from headwise.published.stability import Verdict
from headwise.report.finding import Finding, described
from headwise.report.labels import amount, missing, number, plain
from headwise.report.part import Passage
from headwise.report.view import NAME, NUMBER, TEXT, View, view
from headwise.tables.frame import records


def claim_findings(table: pd.DataFrame) -> Iterator[Finding]:
    """How many claims hold, then each in every group and version."""
    claims = records(table)
    if not claims:
        return
    yield _tally(claims)
    for row in claims:
        yield _claim(row)


def _tally(claims: list[dict[str, Any]]) -> Finding:
    """How many readings of the claims hold as published, and of these under the corrected estimators."""
    as_published = {(row["claim"], row["group"]) for row in claims if _holds(row, PUBLISHED)}
    corrected = {(row["claim"], row["group"]) for row in claims if _holds(row, CORRECTED)}
    readings = len({(row["claim"], row["group"]) for row in claims})
    return described(
        "a count, not a test",
        id="stability:claims",
        topic=TOPIC,
        headline=True,
        sentence=(
            f"Claims of Bali et al. (2026): {len(as_published)} of {amount(readings, 'reading')} hold as published, "
            f"{len(as_published & corrected)} of these corrected."
        ),
        numbers="corrected: with all pairs of refits, one-to-one matching and an interval",
        n=len(claims),
        unit="reading",
    )


def _holds(row: dict[str, Any], version: str) -> bool:
    return row["version"] == version and row["verdict"] == Verdict.SUPPORTED


def _claim(row: dict[str, Any]) -> Finding:
    published = "" if missing(row["published_value"]) else f" (published: {number(row['published_value'], 3)})"
    measured = "no number" if missing(row["value"]) else number(row["value"], 3)
    if not missing(row["ci_low"]):
        measured += f", interval {number(row['ci_low'], 3)} to {number(row['ci_high'], 3)}"
    return refit_finding(
        row,
        id=f"stability:{row['claim']}:{_safe(row['group'])}:{row['version']}",
        headline=False,
        sentence=(f"{row['statement']}, in {plain(row['group'])}, {row['version']} estimator: {row['verdict']}."),
        numbers=f"{row['number']}: {measured}{published}",
    )


def _safe(name: str) -> str:
    """A group or contrast as part of an id."""
    return name.replace(" − ", "-minus-")


def passage(claims: pd.DataFrame) -> Passage:
    """What the claims are about, and the table of verdicts."""
    return Passage(
        "The published claims",
        [
            "Refits of one architecture differ in their seed alone. Bali et al. (2026) ask whether heads come out "
            "the same. Each claim of their abstract says that a number lies above zero. As published, the "
            "estimate decides; corrected, the whole interval over refits must lie above zero.",
            "Corrected means: all pairs of refits, one-to-one matching of heads, a head never compared with "
            "itself, debiased CKA, importance as the loss on held-out text with the head's mean output in its "
            "place.",
        ],
        [(claim_view(claims), "Number, chance level and verdict, as published and corrected")],
    )


def claim_view(claims: pd.DataFrame) -> View:
    """Every claim in every group and version."""
    return view(
        claims,
        [
            ("Claim", lambda row: row["statement"], TEXT),
            ("Group", lambda row: plain(row["group"]), NAME),
            ("Version", lambda row: row["version"], NAME),
            ("Published", three_digits("published_value"), NUMBER),
            ("Here", three_digits("value"), NUMBER),
            ("Interval", interval_text, NUMBER),
            ("Chance", three_digits("chance"), NUMBER),
            ("Verdict", lambda row: row["verdict"], NAME),
        ],
    )
