"""Published numbers of perturbed models in the report: the ratio of noise slopes, and each number beside ours."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from headwise.published.perturbations import MULTI_HEAD, RATIO_OF_MEANS, published_slopes
from headwise.report.finding import Finding, described
from headwise.report.labels import missing, number, plain
from headwise.report.part import Passage
from headwise.report.view import NAME, NUMBER, TEXT, view
from headwise.statistics.ratio import unbounded_because
from headwise.tables.frame import records


def ratio_finding(rows: pd.DataFrame, level: float) -> Iterator[Finding]:
    """What the published ratio is, when it is tested whether its denominator differs from zero."""
    why = unbounded_because(np.array(list(published_slopes(MULTI_HEAD).values())), level)
    found = records(rows[rows["quantity"].eq(RATIO_OF_MEANS)])
    if not found or why is None:
        return
    (row,) = found
    ours = (
        ""
        if missing(row["ours"])
        else f"; here {plain(row['our_subject'])} is {number(row['ours'], 2)} ({row['reason']})"
    )
    yield described(
        "from published values, not from this study",
        id="published:noise-ratio",
        topic="check",
        headline=False,
        sentence=f"The published ratio of noise slopes, {row['published']:,.0f} ({row['subject']}), is unbounded.",
        numbers=f"{why}{ours}",
        n=3,
        unit="seed",
    )


def passage(rows: pd.DataFrame) -> Passage:
    """Every published number with its source."""
    shown = view(
        rows,
        [
            ("Quantity", lambda row: row["quantity"], NAME),
            ("Model", lambda row: row["subject"], NAME),
            ("Seed", lambda row: "–" if missing(row["seed"]) else str(row["seed"]), NUMBER),
            ("Published", lambda row: f"{row['published']:,.4g}", NUMBER),
            ("Here", lambda row: "–" if missing(row["ours"]) else f"{row['ours']:.6g}", NUMBER),
            ("Of", lambda row: "–" if missing(row["our_subject"]) else plain(row["our_subject"]), NAME),
            ("Remark", lambda row: "" if missing(row["reason"]) else row["reason"], TEXT),
            ("Source", lambda row: row["source"], TEXT),
        ],
    )
    return Passage(
        "Published values",
        ["Numbers of other models and data: beside ours, not compared with them."],
        [(shown, "Published values and the nearest quantity of this study")],
    )
