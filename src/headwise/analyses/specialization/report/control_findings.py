"""Findings about the estimators: what do they measure, do they agree?"""

from collections.abc import Iterator

import pandas as pd

from headwise.analyses.specialization.tested import within_refits
from headwise.report.columns import ROUNDING, Tables, counted
from headwise.report.finding import Finding, described
from headwise.report.labels import (
    amount,
    estimator_label,
    estimator_title,
    missing,
    number,
    p_value,
    share,
    sink_label,
    up_to_one,
)
from headwise.study.study import Study
from headwise.tables.frame import records

# Standard deviations within which a value is like that of heads in random orders.
LIKE_RANDOM = 2.0
# Share of models of which something must hold to be said of the estimator.
MOST = 0.9
# Where the largest change of any order is below this share of the value, no order moves it much.
HARDLY = 0.1


def control_findings(study: Study, tables: Tables) -> list[Finding]:
    """What checks of the estimators show."""
    return [
        *_head_permutation(tables),
        *_domains(study, tables),
        *_agreement(study, tables),
    ]


def head_permutation_summary(tables: Tables) -> pd.DataFrame:
    """What shuffling heads within their layers does to each estimator and sink, over all models and refits.

    Columns: estimator, sink; models; means over models of the absolute value, of its absolute change (mean over
    orders) and of the deviation over orders; largest_change of any order; like_random, how many models have a value
    within LIKE_RANDOM deviations of the mean over orders.
    """
    checks = counted(tables["checks"], tables["models"])
    rows = checks[checks["check"].eq("head_permutation") & checks["change"].notna()]
    change = rows["change"].abs()
    rows = rows.assign(
        value=rows["value"].abs(),
        change=change,
        like_random=change <= LIKE_RANDOM * rows["deviation"].fillna(0) + ROUNDING,
    )
    return (
        rows.groupby(["estimator", "sink"], sort=False)
        .agg(
            models=("value", "size"),
            value=("value", "mean"),
            change=("change", "mean"),
            deviation=("deviation", "mean"),
            largest_change=("largest_change", "max"),
            like_random=("like_random", "sum"),
        )
        .reset_index()
    )


def _head_permutation(tables: Tables) -> Iterator[Finding]:
    """For estimators that give a meaning to head numbers: is there any in them?"""
    for row in records(head_permutation_summary(tables)):
        if row["sink"] != "kept" or row["largest_change"] <= ROUNDING:
            continue
        models = amount(row["models"], "model")
        if row["like_random"] < MOST * row["models"]:
            reading = "The numbering of heads matters to it."
        elif row["largest_change"] <= HARDLY * row["value"]:
            reading = "No order moves it much: it measures a profile over depth, not how heads differ."
        else:
            reading = "Single orders of heads move it: differences between models of that size say nothing about heads."
        yield described(
            "a control, not a test",
            id=f"check:head-permutation:{row['estimator']}",
            topic="check",
            headline=True,
            sentence=f"{estimator_title(row['estimator'])}, heads shuffled. {reading}",
            numbers=(
                f"in {row['like_random']} of {models} its value is like that of a random order of the heads of each "
                f"layer (within {LIKE_RANDOM:g} standard deviations); orders deviate by {number(row['deviation'], 4)} "
                f"and by {number(row['largest_change'], 4)} at most, from a value of {number(row['value'])}"
            ),
            estimate=row["change"],
            n=row["models"],
            unit="model",
        )


def _domains(study: Study, tables: Tables) -> Iterator[Finding]:
    """Whether significance within refits rests on prompts of a domain changing independently of each other."""
    level = study.comparison.level
    tests = within_refits(study, tables)
    found = tests[tests["p"].le(level) & tests["p_domains"].notna()]
    if found.empty or float(found["p_domains_attainable"].max()) > level:
        return
    kept = int(found["p_domains"].le(level).sum())
    smallest = p_value(found["p_domains_attainable"].max())
    yield described(
        "a count of tests before adjustment",
        id="check:domains",
        topic="check",
        headline=kept < MOST * len(found),
        sentence=(
            f"Of {amount(len(found), 'change')} within refits with p of at most {level:g}, {kept} keep it when labels "
            "of whole domains are swapped."
        ),
        numbers=(
            f"smallest attainable p {smallest}, before adjustment; the others hold for prompts like these in these "
            "domains, not for other domains"
        ),
        n=len(found),
        unit="test",
    )


def _agreement(study: Study, tables: Tables) -> Iterator[Finding]:
    """Whether another estimator, or leaving out the first key, would have told another story."""
    rows = tables["agreement"]
    primary = estimator_label(study.comparison.primary)
    yield from _shared_signs(rows[rows["changes_compared"] > 0], primary)
    for row in records(rows):
        if missing(row["rank_correlation"]):
            continue
        changes = f"; {row['same_direction']} of {amount(row['changes_compared'], 'change')} have the same sign"
        yield described(
            "a description, not a test",
            id=f"check:agreement:{row['estimator']}:{row['sink']}",
            topic="check",
            headline=False,
            sentence=(
                f"{estimator_title(row['estimator'])} ({sink_label(row['sink'])}) against {primary} (all "
                f"keys): rank correlation {up_to_one(row['rank_correlation'])}."
            ),
            numbers=(
                f"over {amount(row['models_compared'], 'model')}, each refit "
                f"counted{changes if row['changes_compared'] else ''}"
            ),
            estimate=row["rank_correlation"],
            n=row["models_compared"],
            unit="model",
        )


def _shared_signs(compared: pd.DataFrame, primary: str) -> Iterator[Finding]:
    """Over estimators: how many changes have the sign that they have with the primary one."""
    if compared.empty:
        return
    shares = compared.assign(share=compared["same_direction"] / compared["changes_compared"])
    ranked = sorted(records(shares), key=lambda row: row["share"])
    fewest, most = ranked[0], ranked[-1]
    span = share(fewest["share"])
    if most["share"] > fewest["share"]:
        span += f" to {share(most['share'])}"
    yield described(
        "a description, not a test",
        id="check:agreement",
        topic="check",
        headline=True,
        sentence=(f"Other estimators give {span} of the changes under alignment the sign that the {primary} gives."),
        numbers=(
            f"within refits; fewest with {estimator_label(fewest['estimator'])} ({sink_label(fewest['sink'])}): "
            f"{fewest['same_direction']} of {fewest['changes_compared']}"
        ),
        n=fewest["changes_compared"],
        unit="change",
    )
