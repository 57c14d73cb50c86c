"""The confound table for people, and what stands around it on the page."""

from collections.abc import Iterator

import pandas as pd

from headwise.analyses.variants.report.confounded import confounded_pairs
from headwise.analyses.variants.report.findings import PUBLISHED, choice_label, effects, unbounded
from headwise.analyses.variants.settings import STUDY
from headwise.report.columns import Tables
from headwise.report.labels import estimator_title, missing, number, plain, signed
from headwise.report.part import Passage
from headwise.report.view import NAME, NUMBER, TEXT, View, view
from headwise.study.study import Study


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """What each choice moves, and which comparisons differ in such a choice."""
    rows = tables["confounds"]
    kept = rows[rows["sink"].eq("kept")]
    if not kept.empty:
        first = kept["estimator"].isin([study.comparison.primary, PUBLISHED])
        views = [
            (confound_view(part), caption)
            for part, caption in (
                (kept[first], "The primary estimator and the published index, all keys kept"),
                (kept[~first], "The other estimators, all keys kept"),
            )
            if not part.empty
        ]
        yield Passage(
            "How far each choice of a protocol moves each estimator",
            [
                "The same models on the same prompts, measured a second time with one choice made differently (or "
                "several, for a published protocol as a whole). Each variant is compared with its own reference, so "
                "that a difference is due to what the brackets name.",
                "Beside it stand the spread of base models and the mean absolute change under alignment in this "
                "study. A choice that moves an estimator by more than alignment does cannot differ between two models "
                "that are compared. Where no change under alignment can be told from 0, a ratio to it is unbounded. "
                "Where both models are measured under the same variant it can still change the "
                "answer: the last columns give the change under alignment in the measured pairs, both models under "
                "the reference, and both under the variant.",
            ],
            views,
        )
    if pairs := confounded_pairs(tables):
        yield Passage(
            "Confounded comparisons",
            [
                "These pairs differ in more than alignment; their tests carry the same remark: "
                + "; ".join(
                    f"{plain(pair.aligned)} ({plain(pair.factor)} {pair.of_aligned}) against "
                    f"{plain(pair.base)} ({pair.of_base})"
                    for pair in pairs
                )
                + "."
            ],
        )


def confound_view(rows: pd.DataFrame) -> View:
    """Rows of the table of confounds; within an estimator in the order of the study."""
    rows = rows.sort_values("estimator", key=lambda names: names.map(list(dict.fromkeys(names)).index), kind="stable")
    return view(
        rows,
        [
            ("Estimator", lambda row: estimator_title(row["estimator"]), NAME),
            ("Variant (what it changes)", choice_label, TEXT),
            ("Against", lambda row: "own extraction" if row["reference"] == STUDY else plain(row["reference"]), NAME),
            ("Mean difference", lambda row: small(row["mean_difference"]), NUMBER),
            ("Largest", lambda row: small(row["largest_absolute_difference"]), NUMBER),
            ("Models", lambda row: str(row["measured"]), NUMBER),
            ("Spread of bases", lambda row: number(row["spread_between_models"], 4), NUMBER),
            ("Change under alignment", lambda row: number(row["alignment_effect"], 4), NUMBER),
            (
                "Mean size over that",
                lambda row: "unbounded" if unbounded(row) else number(row["shift_over_alignment"], 2),
                NUMBER,
            ),
            (
                "Pairs: change, both under reference → variant",
                lambda row: effects(row) if row["pairs"] else "–",
                NUMBER,
            ),
            ("Note", lambda row: "" if missing(row["reason"]) else row["reason"], TEXT),
        ],
    )


def small(value: object) -> str:
    """A difference with four decimals; one that rounds to none of them in powers of ten; 0 as 0."""
    if missing(value):
        return "–"
    size = float(str(value))
    return signed(size) if abs(size) >= 5e-5 else f"{size:.0e}".replace("-", "−") if size else "0"
