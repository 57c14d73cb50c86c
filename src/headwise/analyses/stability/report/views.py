"""The tables of stability for people, and what stands around them on the page."""

from collections.abc import Callable, Iterator

import pandas as pd

from headwise.analyses.stability.names import Analysis
from headwise.report.columns import Tables
from headwise.report.labels import missing, number, plain
from headwise.report.part import Passage
from headwise.report.view import NAME, NUMBER, TEXT, ColumnView, Row, View, view
from headwise.study.study import Study

CONTRASTS = (Analysis.WEIGHT_DECAY, Analysis.PARITY, Analysis.NORM_CHANGE, Analysis.DEPTH_CONTRAST)


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """Layers with their chance levels, and contrasts between groups."""
    rows = tables["stability"]
    layers = rows[rows["analysis"].eq(Analysis.HEAD_STABILITY) & rows["head"].isna() & rows["words"].isna()]
    if not layers.empty:
        yield Passage(
            "Layers and chance",
            [
                "Two unrelated heads have a high cosine where attention is flat or rests on the first token. The "
                "chance level is what matched heads reach when the refits read different prompts of the same length. "
                "Models with random weights, and patterns without the first key or with rows centred, show what is "
                "left.",
            ],
            [
                (
                    layer_view(layers),
                    "Stability of heads by layer, all measures; the last row of each is the mean over layers",
                )
            ],
        )
    contrasts = rows[rows["analysis"].isin(CONTRASTS)]
    if not contrasts.empty:
        yield Passage(
            "Weight decay and depth",
            ["Differences between groups of refits that differ in one factor, refits drawn anew in both."],
            [(contrast_view(contrasts), "Second group minus first")],
        )


def layer_view(rows: pd.DataFrame) -> View:
    """Stability by layer."""
    columns: list[ColumnView] = [
        ("Group", lambda row: plain(row["group"]), NAME),
        ("Version", lambda row: row["version"], NAME),
        ("Weights", lambda row: row["weights"], NAME),
        ("Measure", lambda row: plain(row["measure"]), NAME),
        ("Layer", lambda row: "mean" if missing(row["layer"]) else str(row["layer"]), NUMBER),
        ("Stability", three_digits("value"), NUMBER),
        ("Interval", interval_text, NUMBER),
        ("Chance", three_digits("chance"), NUMBER),
        ("Above chance", three_digits("chance_corrected"), NUMBER),
    ]
    return view(rows, columns)


def contrast_view(rows: pd.DataFrame) -> View:
    """Differences between groups."""
    return view(
        rows,
        [
            ("Groups", lambda row: plain(row["group"]), NAME),
            ("What", lambda row: plain(row["analysis"]), NAME),
            ("Version", lambda row: row["version"], NAME),
            (
                "Of",
                lambda row: " ".join(plain(part) for part in (row["measure"], row["taken_from"] or "") if part),
                NAME,
            ),
            ("Layer", lambda row: "all" if missing(row["layer"]) else str(row["layer"]), NUMBER),
            ("Difference", three_digits("value"), NUMBER),
            ("Interval", interval_text, NUMBER),
            ("Above chance", three_digits("chance_corrected"), NUMBER),
            ("How", how, TEXT),
        ],
    )


def how(row: Row) -> str:
    """The method of a contrast; where losses are compared, with what two one-sided tests say of them."""
    if missing(row["margin"]):
        return row["method"] or ""
    verdict = "parity" if row["within_margin"] else "no parity shown"
    return f"{row['method']}; {verdict} within ±{row['margin']:g} nats, two one-sided t tests"


def three_digits(column: str) -> Callable[[Row], str]:
    """The number in a column, for a view."""
    return lambda row: "–" if missing(row[column]) else number(row[column], 3)


def interval_text(row: Row) -> str:
    """The interval of a row, for a view."""
    if missing(row["ci_low"]):
        return "–"
    return f"{number(row['ci_low'], 3)} to {number(row['ci_high'], 3)}"
