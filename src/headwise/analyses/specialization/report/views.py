"""Tables of specialization for people."""

from collections.abc import Mapping
from functools import partial

from headwise.analyses.specialization.report.control_findings import head_permutation_summary
from headwise.report.columns import Tables, counted
from headwise.report.finding import units
from headwise.report.labels import (
    DESCRIPTORS,
    LEFT_OUT,
    cell,
    estimator_title,
    interval,
    labels_of_methods,
    marked_p,
    missing,
    number,
    p_value,
    plain,
    relative_change,
    signed,
    sink_label,
    titled,
    up_to_one,
)
from headwise.report.rows import NEVER_DECIDED
from headwise.report.verdicts import CONFIRMATORY, in_words, verdict_and_why
from headwise.report.view import NAME, NUMBER, TEXT, ColumnView, Row, View, view
from headwise.study.study import Study

KINDS = [
    *("alignment_pooled", "alignment_random_effects", "alignment_without_family"),
    *("architecture", "architecture_by_seed", "alignment_difference"),
]


def comparisons_view(study: Study, tables: Tables, confirmatory: bool) -> View:
    """Tests of whole models against their bases: the confirmatory ones, or all others."""
    rows = tables["comparisons"]
    rows = rows[rows["level"].eq("model") & rows["role"].eq(CONFIRMATORY).eq(confirmatory)]
    which = [
        ("Estimator", lambda row: estimator_title(row["estimator"]), NAME),
        ("Keys", lambda row: sink_label(row["sink"]), NAME),
    ]
    return view(
        rows,
        [
            ("Aligned model", lambda row: plain(row["aligned"]), NAME),
            ("Seed", lambda row: "all" if missing(row["seed"]) else str(row["seed"]), NUMBER),
            *([] if confirmatory else which),
            ("Base", lambda row: number(row["base_value"], 4), NUMBER),
            ("Aligned", lambda row: number(row["aligned_value"], 4), NUMBER),
            ("Change", lambda row: signed(row["delta_absolute"]), NUMBER),
            (_interval_head(study), lambda row: interval(row["ci_low"], row["ci_high"]), NUMBER),
            ("Relative change", relative_change, NUMBER),
            *_test_columns(),
        ],
    )


def contrasts_view(study: Study, tables: Tables, confirmatory: bool) -> View:
    """Contrasts between models: the confirmatory ones, or all others."""
    rows = tables["contrasts"]
    rows = rows[rows["role"].eq(CONFIRMATORY).eq(confirmatory)]
    rows = rows.sort_values("kind", key=lambda kinds: kinds.map(KINDS.index), kind="stable")
    which = [
        ("Estimator", lambda row: estimator_title(row["estimator"]), NAME),
        ("Keys", lambda row: sink_label(row["sink"]), NAME),
    ]
    return view(
        rows,
        [
            ("Contrast", partial(_contrast, labels_of_methods(study, tables)), NAME),
            *([] if confirmatory else which),
            ("Estimate", lambda row: signed(row["estimate"]), NUMBER),
            (_interval_head(study), lambda row: interval(row["ci_low"], row["ci_high"]), NUMBER),
            ("At equal held-out loss", at_equal_loss, NUMBER),
            *_test_columns(),
        ],
    )


def at_equal_loss(row: Row) -> str:
    """Estimate and interval between refits of one held-out loss; a dash where there is none."""
    if missing(row["at_equal_loss_low"]):
        return "–"
    return f"{signed(row['at_equal_loss'])} ({interval(row['at_equal_loss_low'], row['at_equal_loss_high'])})"


def estimators_view(tables: Tables) -> View:
    """Formula, source and range of every estimator."""
    return view(
        tables["estimators"],
        [
            ("Estimator", lambda row: f"{estimator_title(row['estimator'])} ({row['role']})", NAME),
            ("Definition", lambda row: cell(row["definition"]), TEXT),
            ("Source", lambda row: cell(row["source"]), TEXT),
            ("Range", lambda row: _range(row), NUMBER),
        ],
    )


def agreement_view(tables: Tables) -> View:
    """How far the estimators agree with the primary one, as far as there is something to compare."""
    rows = tables["agreement"]
    return view(
        rows[rows["rank_correlation"].notna() | rows["changes_compared"].gt(0)],
        [
            ("Estimator", lambda row: estimator_title(row["estimator"]), NAME),
            ("Keys", lambda row: sink_label(row["sink"]), NAME),
            ("Models", lambda row: str(row["models_compared"]), NUMBER),
            ("Rank correlation", lambda row: up_to_one(row["rank_correlation"]), NUMBER),
            (
                "Changes with the same sign",
                lambda row: f"{row['same_direction']} of {row['changes_compared']}" if row["changes_compared"] else "–",
                NUMBER,
            ),
        ],
    )


def head_permutation_view(tables: Tables) -> View:
    """What shuffling heads does to every estimator, over all models."""
    return view(
        head_permutation_summary(tables),
        [
            ("Estimator", lambda row: estimator_title(row["estimator"]), NAME),
            ("Keys", lambda row: sink_label(row["sink"]), NAME),
            ("Mean value", lambda row: number(row["value"], 4), NUMBER),
            ("Mean change", lambda row: number(row["change"], 4), NUMBER),
            ("Deviation over orders", lambda row: number(row["deviation"], 4), NUMBER),
            ("Largest change of one order", lambda row: number(row["largest_change"], 4), NUMBER),
            ("Models like a random order", lambda row: f"{row['like_random']} of {row['models']}", NUMBER),
        ],
    )


def descriptors_view(tables: Tables) -> View:
    """For every base: the mean over heads and refits, and the highest head, of each descriptor and of rows left out."""
    labels = {**DESCRIPTORS, "left_out_share": LEFT_OUT}
    rows = counted(tables["descriptors"], tables["models"])
    grouped = rows[rows["base"].isna()].groupby("model", sort=False)[list(labels)]
    both = grouped.mean().add_suffix("_mean").join(grouped.max().add_suffix("_highest")).reset_index()

    def column(name: str) -> ColumnView:
        digits = 1 if name in ("distance_tokens", "effective_keys") else 3
        return (
            labels[name],
            lambda row: f"{number(row[f'{name}_mean'], digits)} ({number(row[f'{name}_highest'], digits)})",
            NUMBER,
        )

    return view(both, [("Model", lambda row: plain(row["model"]), NAME), *map(column, labels)])


def _contrast(labels: Mapping[str | None, str], row: Row) -> str:
    """What is contrasted with what."""
    under = f"Change under {labels[row['method']]}"
    if row["kind"] == "alignment_pooled":
        return f"{under}, mean over {units(row)}"
    if row["kind"] == "alignment_random_effects":
        return f"{under}, random-effects mean over {units(row)}"
    if row["kind"] == "alignment_without_family":
        return f"{under}, mean without {plain(row['group'])}"
    against = f"{plain(row['group'])} against {plain(row['reference'])}"
    if row["kind"] == "alignment_difference":
        return f"{under}: {against}"
    return f"{titled(against)}, paired by seed" if row["kind"] == "architecture_by_seed" else titled(against)


def _test_columns() -> list[ColumnView]:
    return [
        ("Units", units, NUMBER),
        ("p", marked_p, NUMBER),
        ("Smallest attainable p", lambda row: p_value(row["p_attainable"]), NUMBER),
        ("Adjusted p", lambda row: p_value(row["p_adjusted"]), NUMBER),
        # Why it is undecidable, the column of attainable p shows.
        (
            "Verdict",
            lambda row: titled(verdict_and_why(row)[0] if row["verdict"] in NEVER_DECIDED else in_words(row)),
            TEXT,
        ),
    ]


def _interval_head(study: Study) -> str:
    return f"{100 * (1 - study.comparison.level):g} % interval"


def _range(row: Row) -> str:
    low = "−∞" if missing(row["low"]) else f"{row['low']:g}"
    high = "∞" if missing(row["high"]) else f"{row['high']:g}"
    return f"{low} … {high}"
