"""The tables of stability for people, and what stands around them on the page."""

from collections.abc import Callable, Iterator

import pandas as pd

from headwise.report.columns import Tables
from headwise.report.labels import missing, number, plain
from headwise.report.part import Passage
from headwise.report.view import NAME, NUMBER, TEXT, ColumnView, Row, View, view
from headwise.study.study import Study


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """Layers with their chance levels, and contrasts between groups."""
    rows = tables["stability"]
    layers = rows[rows["analysis"].eq("head_stability") & rows["head"].isna() & rows["words"].isna()]
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
    contrasts = rows[
        rows["analysis"].isin(("weight_decay_change", "loss_parity", "weight_norm_change", "depth_contrast"))
    ]
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
            ("Of", lambda row: " ".join(plain(part) for part in (row["measure"], row["part"] or "") if part), NAME),
            ("Layer", lambda row: "all" if missing(row["layer"]) else str(row["layer"]), NUMBER),
            ("Difference", three_digits("value"), NUMBER),
            ("Interval", interval_text, NUMBER),
            ("Above chance", three_digits("chance_corrected"), NUMBER),
            ("How", lambda row: row["method"] or "", TEXT),
        ],
    )


def three_digits(column: str) -> Callable[[Row], str]:
    """The number in a column, for a view."""
    return lambda row: "–" if missing(row[column]) else number(row[column], 3)


def interval_text(row: Row) -> str:
    """The interval of a row, for a view."""
    if missing(row["ci_low"]):
        return "–"
    return f"{number(row['ci_low'], 3)} to {number(row['ci_high'], 3)}"
