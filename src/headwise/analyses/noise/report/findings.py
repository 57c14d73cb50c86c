"""What noise, duplicated heads and the probe showed, in sentences computed from their tables."""

from collections.abc import Iterator
from math import exp, log

import pandas as pd

from headwise.analyses.noise.rows import (
    KeyValueDuplication,
    Kind,
    NoiseContrast,
    NoiseSharing,
    ProbeDiscrimination,
    ProbeSelection,
)
from headwise.analyses.noise.settings import Region, Site
from headwise.report.columns import Tables
from headwise.report.finding import Finding, described
from headwise.report.labels import (
    amount,
    estimator_label,
    marked_p,
    missing,
    number,
    p_value,
    plain,
    share,
    signed,
    titled,
    up_to_one,
)
from headwise.report.verdicts import side
from headwise.report.view import Row
from headwise.statistics.ratio_verdict import RatioVerdict
from headwise.study.study import Study
from headwise.tables.frame import records

# The published site; both units of the dose are told, since residual norms differ between models.
SITE, REGION = Site.ATTENTION_OUTPUT, Region.ALL
SHARED = ("grouped-query", "multi-query")
# Differences of the change of the loss that rounding of float32 explains, nats per token.
ROUNDING = 1e-4


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """All findings of the part; none where nothing was measured."""
    yield from _architectures(study, tables)
    yield from _sharing(tables[NoiseSharing.table])
    yield from _duplication(tables[KeyValueDuplication.table])
    yield from _discrimination(study, tables[ProbeDiscrimination.table])
    yield from _selection(tables[ProbeSelection.table])


def ratio_words(row: Row) -> str:
    """A contrast in numbers: ratio of geometric means with its interval, and p; or that it is unbounded.

    Where the interval holds 1, or there is none, it says that the ratio is not told from it.
    """
    if row["verdict"] == RatioVerdict.UNBOUNDED:
        return f"unbounded: {row['why_unbounded']}"
    if row["verdict"] == RatioVerdict.UNDEFINED:
        return "undefined" if row["n"] and row["n_reference"] else "undefined: no unit to compare"
    ratio = row["geometric_mean"] if not missing(row["geometric_mean"]) else row["ratio_of_means"]
    ends, told = "", 0
    if not missing(row["geometric_low"]):
        ends = f", interval {number(row['geometric_low'], 2)} to {number(row['geometric_high'], 2)}"
        told = side(ratio - 1, row["geometric_low"] - 1, row["geometric_high"] - 1)
    ends += "" if told else ", not told from 1"
    p = f"p = {marked_p(row)}, smallest attainable {p_value(row['p_attainable'])}"
    return f"{number(ratio, 2)} times as sensitive{ends}, {p}"


def _architectures(study: Study, tables: Tables) -> Iterator[Finding]:
    """Is a base more sensitive than the reference, when it differs in one factor alone?"""
    rows = tables[NoiseContrast.table]
    rows = rows[rows["kind"].eq(Kind.ARCHITECTURE) & rows["site"].eq(SITE) & rows["region"].eq(REGION)]
    attention = tables["models"].drop_duplicates("model").set_index("model")["attention"]
    for (group, reference), own in rows.groupby(["group", "reference"], sort=False):
        told = records(own)
        words = "; ".join(f"at {row['scale']} doses {ratio_words(row)}" for row in told)
        shares = attention.get(group) in SHARED and attention.get(reference) == "multi-head"
        question = "more sensitive to noise when only the sharing of keys and values differs? " if shares else ""
        subject = titled(plain(str(group)))
        opening = f"Is {plain(str(group))} {question}" if question else ""
        first = told[0]
        attainable = [row["p_attainable"] for row in told if not missing(row["p_attainable"])]
        hopeless = bool(attainable) and min(attainable) > study.comparison.level
        verdict = " No data could have shown it: the smallest attainable p is above the level." if hopeless else ""
        yield described(
            first["reason"] or "exploratory",
            id=f"noise:{group}",
            topic="architecture",
            about=(str(group), str(reference)),
            headline=bool(question),
            sentence=(
                f"{opening}{subject} against {plain(str(reference))}, area under the change of the loss with noise "
                f"after the output projections: {words} ({first['n']} + {first['n_reference']} units).{verdict}"
            ),
            estimate=None if missing(first["geometric_mean"]) else log(first["geometric_mean"]),
            interval=None
            if missing(first["geometric_low"])
            else (log(first["geometric_low"]), log(first["geometric_high"])),
            p=first["p"],
            p_attainable=first["p_attainable"],
            n=first["n"],
            unit="refit",
        )


def _duplication(rows: pd.DataFrame) -> Iterator[Finding]:
    """Does a model respond as before when every query head has its own copy of its key and value head?"""
    if rows.empty:
        return
    largest = rows["largest_delta_nll_difference"].max()
    same = not missing(largest) and largest <= ROUNDING
    reading = (
        "So it must be for noise behind the heads: this is a control of the software, and says nothing about what "
        "sharing keys and values does to noise in them."
        if same
        else "That is more than rounding: the two models do not respond alike."
    )
    yield described(
        "a control, not a test",
        id="noise:duplication",
        topic="check",
        headline=True,
        sentence=(
            f"Key and value heads duplicated ({amount(rows['model'].nunique(), 'model')}, {len(rows)} refits): as many "
            f"as query heads, and logits differ by {_small(rows['largest_logit_difference'].max())} at most, "
            f"attention by {_small(rows['largest_attention_difference'].max())}, the change of the loss under any "
            f"noise by {_small(largest)} nats (the change itself reaches "
            f"{number(rows['largest_delta_nll'].max(), 2)}). {reading}"
        ),
        estimate=None if missing(largest) else float(largest),
        n=len(rows),
        unit="refit",
    )


def _sharing(rows: pd.DataFrame) -> Iterator[Finding]:
    """What sharing keys and values does to noise in them, in models of the same function."""
    for row in records(rows[rows["region"].eq(REGION) & rows["log_ratio"].notna()]):
        span, reading = "", "one refit has no interval"
        if not missing(row["log_low"]):
            span = f" ({number(exp(row['log_low']), 2)} to {number(exp(row['log_high']), 2)})"
            told = side(row["log_ratio"], row["log_low"], row["log_high"])
            reading = {1: "sharing amplifies it", -1: "sharing dampens it", 0: "not told from 1"}[told]
        yield described(
            row["reason"] or "an interval over refits, no test",
            id=f"sharing:{row['model']}:{row['site']}:{row['scale']}",
            topic="architecture",
            about=(row["model"],),
            headline=False,
            sentence=(
                f"{row['scale'].capitalize()} noise in the {row['site']} of {plain(row['model'])}, one draw per shared "
                f"head, raises the loss {number(row['ratio'], 2)} times{span} as much as one draw per query head in a "
                f"model of the same function, over {amount(row['n'], 'refit')}: {reading}."
            ),
            estimate=row["log_ratio"],
            interval=None if missing(row["log_low"]) else (row["log_low"], row["log_high"]),
            n=row["n"],
            unit="refit",
        )


def _discrimination(study: Study, rows: pd.DataFrame) -> Iterator[Finding]:
    """What the response of the primary estimator tells apart."""
    for row in records(rows[rows["estimator"].eq(study.comparison.primary)]):
        if missing(row["area"]):
            continue
        ends = (
            "no interval"
            if missing(row["ci_low"])
            else f"interval {number(row['ci_low'], 2)} to {number(row['ci_high'], 2)}"
        )
        yield described(
            str(row["reason"]),
            id=f"probe:{str(row['task']).replace(' ', '-')}",
            topic="check",
            headline=False,
            sentence=(
                f"The probe ({estimator_label(row['estimator'])}, one declared dose), {row['task']}: ROC area "
                f"{up_to_one(row['area'])}, {ends}, p = {marked_p(row)} ({row['n']} against {row['n_reference']} "
                "models, each refit counted); 0.5 would tell nothing apart."
            ),
            estimate=row["area"],
            interval=None if missing(row["ci_low"]) else (row["ci_low"], row["ci_high"]),
            p=row["p"],
            p_attainable=row["p_attainable"],
            n=row["n"],
            unit="model",
        )


def _selection(rows: pd.DataFrame) -> Iterator[Finding]:
    """The demonstration: what the best of many cells finds between random halves of the same models."""
    for row in records(rows):
        yield described(
            "a demonstration on random halves, not a result about models",
            id="probe:selection",
            topic="check",
            headline=False,
            sentence=(
                f"Demonstration: between random halves of {amount(row['units'], 'refit')} of bases a cell fixed "
                f"beforehand differs at the level of {100 * row['level']:g} % in {share(row['declared_rate'])} of "
                f"splits; the best of {row['cells']} cells in the expected direction in {share(row['best_rate'])}, by "
                f"{signed(row['best_percent'], 1)} percentage points on average. Selection alone makes that effect."
            ),
            estimate=row["best_rate"],
            n=row["splits"],
            unit="split",
        )


def _small(value: object) -> str:
    return "–" if missing(value) else f"{float(str(value)):.1g}"
