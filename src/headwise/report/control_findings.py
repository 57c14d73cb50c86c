"""Findings about the study itself: did training work, what do the estimators measure, do they agree?"""

from collections.abc import Iterator

import pandas as pd

from headwise.report.columns import Tables, records
from headwise.report.finding import Finding, described
from headwise.report.labels import (
    amount,
    estimator_label,
    estimator_title,
    method_label,
    missing,
    number,
    sink_label,
)
from headwise.study import Study

# A change of the value, on average over models, that is below this share of it hardly moves the value.
HARDLY = 0.1
ROUNDING = 1e-9


def control_findings(study: Study, tables: Tables) -> list[Finding]:
    """What the controls of a study show."""
    return [
        *_training(tables),
        *_preferences(tables),
        *_head_permutation(tables),
        *_agreement(study, tables),
        *_repeats(tables),
    ]


def _training(tables: Tables) -> Iterator[Finding]:
    """Whether the bases that the study trained know more than how common each token is."""
    models = tables["models"]
    bases = models[models["base"].isna() & models["held_out_loss_nats"].notna()]
    bases = bases[bases["unigram_entropy_nats"].notna()]
    if bases.empty:
        return
    loss, entropy = bases["held_out_loss_nats"], bases["unigram_entropy_nats"]
    yield described(
        "a count",
        id="training",
        topic="training",
        headline=False,
        sentence=(
            f"{int((loss < entropy).sum())} of {amount(len(bases), 'trained base model')} (each refit "
            f"counts) predict held-out text better than token frequencies do: loss {number(loss.min(), 2)} "
            f"to {number(loss.max(), 2)} nats per token; token frequencies alone: "
            f"{number(entropy.mean(), 2)} nats."
        ),
        n=len(bases),
        unit="refit",
    )


def _preferences(tables: Tables) -> Iterator[Finding]:
    """Whether alignment taught the preference; if not, that heads stay as they are says nothing."""
    models = tables["models"]
    aligned = models[models["preference_accuracy_after"].notna()]
    for method, rows in aligned.groupby(aligned["method"].map(method_label), sort=False):
        before, after = rows["preference_accuracy_before"], rows["preference_accuracy_after"]
        yield described(
            "a description, not a test",
            id=f"training:{str(method).lower().replace(' ', '-')}",
            topic="training",
            headline=False,
            sentence=(
                f"{method} raised the share of held-out pairs whose preferred response is the likelier in "
                f"{int((after > before).sum())} of {amount(len(rows), 'aligned model')} (each refit counts): "
                f"on average from {number(before.mean(), 2)} to {number(after.mean(), 2)}."
            ),
            estimate=float((after - before).mean()),
            n=len(rows),
            unit="refit",
        )


def _head_permutation(tables: Tables) -> Iterator[Finding]:
    """For estimators that give a meaning to head numbers: does the order of heads matter to them?"""
    checks = tables["checks"]
    checks = checks[checks["check"].eq("head_permutation") & checks["sink"].eq("kept")]
    for estimator, rows in checks[checks["change"].notna()].groupby("estimator", sort=False):
        change, largest = float(rows["change"].abs().mean()), float(rows["largest_change"].max())
        if largest <= ROUNDING:
            continue
        size = float(rows["value"].abs().mean())
        if change <= HARDLY * size:
            reading = "which hardly moves it: it measures a profile over depth, not how heads differ"
        else:
            reading = "which moves it: it depends on how heads are numbered"
        yield described(
            "a control, not a test",
            id=f"check:head-permutation:{estimator}",
            topic="check",
            headline=True,
            sentence=(
                f"{estimator_title(str(estimator))}: shuffling the heads within each layer changes its value "
                f"of {number(size)} by {number(change, 4)} on average over {amount(len(rows), 'model')} "
                f"(single orders by up to {number(largest, 4)}), {reading}."
            ),
            estimate=change,
            n=len(rows),
            unit="model",
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
                f"keys): rank correlation {number(row['rank_correlation'], 2)} over "
                f"{amount(row['models_compared'], 'model')}, each refit "
                f"counted{changes if row['changes_compared'] else ''}."
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
    span = f"{100 * fewest['share']:.0f} %"
    if most["share"] > fewest["share"]:
        span += f" to {100 * most['share']:.0f} %"
    yield described(
        "a description, not a test",
        id="check:agreement",
        topic="check",
        headline=True,
        sentence=(
            "Would another estimator tell another story? Of the changes under alignment within refits, "
            f"{span} have the same sign as with the {primary}, depending on the estimator; fewest with "
            f"{estimator_label(fewest['estimator'])} ({sink_label(fewest['sink'])}): "
            f"{fewest['same_direction']} of {fewest['changes_compared']}."
        ),
        n=fewest["changes_compared"],
        unit="change",
    )


def _repeats(tables: Tables) -> Iterator[Finding]:
    """Seeds that changed nothing."""
    models = tables["models"]
    repeats = models[models["repeats_seed"].notna()]
    if repeats.empty:
        return
    yield described(
        "a count",
        id="check:repeats",
        topic="check",
        headline=True,
        sentence=(
            f"{amount(len(repeats), 'seed')} of {amount(repeats['model'].nunique(), 'model')} changed "
            "nothing: the weights are those of an earlier seed. They are shown as a check of determinism, "
            "and count for no test."
        ),
        n=len(repeats),
        unit="seed",
    )
