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
    ends = ""
    if not missing(row["geometric_low"]):
        ends = f", interval {number(row['geometric_low'], 2)} to {number(row['geometric_high'], 2)}"
    p = f"p = {marked_p(row)}, smallest attainable {p_value(row['p_attainable'])}"
    return f"{_ratio(row)}{ends}{_told(row)}, {p}"


def _ratio(row: Row) -> str:
    ratio = row["geometric_mean"] if not missing(row["geometric_mean"]) else row["ratio_of_means"]
    return f"{number(ratio, 2)} times as sensitive"


def _told(row: Row) -> str:
    """That a ratio is not told from 1, where it is not."""
    if missing(row["geometric_low"]):
        return ", not told from 1"
    ratio = row["geometric_mean"] if not missing(row["geometric_mean"]) else row["ratio_of_means"]
    ends = (row["geometric_low"] - 1, row["geometric_high"] - 1)
    return "" if side(ratio - 1, *ends) else ", not told from 1"


def _briefly(row: Row) -> str:
    """The ratio alone, or that there is none."""
    return _ratio(row) + _told(row) if row["verdict"] == RatioVerdict.RATIO else str(row["verdict"])


def _architectures(study: Study, tables: Tables) -> Iterator[Finding]:
    """Is a base more sensitive than the reference, when it differs in one factor alone?"""
    rows = tables[NoiseContrast.table]
    rows = rows[rows["kind"].eq(Kind.ARCHITECTURE) & rows["site"].eq(SITE) & rows["region"].eq(REGION)]
    attention = tables["models"].drop_duplicates("model").set_index("model")["attention"]
    for (group, reference), own in rows.groupby(["group", "reference"], sort=False):
        told = records(own)
        words = "; ".join(f"at {row['scale']} doses {ratio_words(row)}" for row in told)
        shares = attention.get(group) in SHARED and attention.get(reference) == "multi-head"
        first = told[0]
        attainable = [row["p_attainable"] for row in told if not missing(row["p_attainable"])]
        hopeless = bool(attainable) and min(attainable) > study.comparison.level
        verdict = "; no data could have shown it: the smallest attainable p is above the level" if hopeless else ""
        yield described(
            first["reason"] or "exploratory",
            id=f"noise:{group}",
            topic="architecture",
            about=(str(group), str(reference)),
            headline=shares,
            sentence=(
                f"{titled(plain(str(group)))} against {plain(str(reference))}, noise after the output projections: "
                f"{_briefly(first)} at {first['scale']} doses."
            ),
            numbers=(
                f"area under the change of the loss: {words} ({first['n']} + {first['n_reference']} units){verdict}"
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
        "so it must be for noise behind the heads: this is a control of the software, and says nothing about what "
        "sharing keys and values does to noise in them"
        if same
        else "that is more than rounding: the two models do not respond alike"
    )
    yield described(
        "a control, not a test",
        id="noise:duplication",
        topic="check",
        headline=True,
        sentence=(
            "Key and value heads duplicated: the change of the loss under any noise differs by at most "
            f"{_small(largest)} nats."
        ),
        numbers=(
            f"{amount(rows['model'].nunique(), 'model')}, {len(rows)} refits, with as many of these heads as query "
            f"heads: logits differ by {_small(rows['largest_logit_difference'].max())} at most, attention by "
            f"{_small(rows['largest_attention_difference'].max())}; the change of the loss itself reaches "
            f"{number(rows['largest_delta_nll'].max(), 2)}; {reading}"
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
                f"{row['scale'].capitalize()} noise in the {row['site']} of {plain(row['model'])} costs "
                f"{number(row['ratio'], 2)} times{span} what noise of each query head’s own costs: {reading}."
            ),
            numbers=(
                "rise of the loss under one draw per shared head over that under one draw per query head in a model of "
                "the same function"
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
                f"The probe, {row['task']}: ROC area {up_to_one(row['area'])}, {ends}; 0.5 would tell nothing apart."
            ),
            numbers=(
                f"{estimator_label(row['estimator'])}, one declared dose, {row['n']} against {row['n_reference']} "
                "models, each refit counted"
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
                f"Demonstration: the best of {row['cells']} cells differs between random halves of the bases in "
                f"{share(row['best_rate'])} of splits, one fixed beforehand in {share(row['declared_rate'])}."
            ),
            numbers=(
                f"{amount(row['units'], 'refit')}, level {100 * row['level']:g} %; the best in the expected direction, "
                f"by {signed(row['best_percent'], 1)} percentage points on average: selection alone makes that effect"
            ),
            estimate=row["best_rate"],
            n=row["splits"],
            unit="split",
        )


def _small(value: object) -> str:
    return "–" if missing(value) else f"{float(str(value)):.1g}"
