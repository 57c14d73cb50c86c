"""What a study found about specialization, in sentences computed from its tables, each with the numbers behind it.

Nothing is claimed beyond a test's verdict, and every p stands beside the smallest that its design can give.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from headwise.analyses.specialization.report.control_findings import control_findings
from headwise.analyses.specialization.report.views import at_equal_loss
from headwise.analyses.specialization.tested import within_refits
from headwise.report.columns import Tables, counted, is_primary
from headwise.report.finding import Finding, described, said, tested, units
from headwise.report.labels import (
    amount,
    estimator_label,
    estimator_title,
    interval,
    labels_of_methods,
    missing,
    number,
    p_value,
    plain,
    same,
    signed,
    titled,
)
from headwise.report.verdicts import CONFIRMATORY, REPEAT, shown, verdict_and_why
from headwise.study.study import Study
from headwise.tables.frame import records

MOST_HEADLINES_OF_A_KIND = 4
MOST_NAMED = 6


def findings(study: Study, tables: Tables) -> list[Finding]:
    """Of any study, also of one model at one seed; the most general first."""
    return [
        *_alignment(study, tables),
        *_bases(study, tables),
        *_methods(study, tables),
        *_architectures(study, tables),
        *_interactions(study, tables),
        *_models(study, tables),
        *control_findings(study, tables),
    ]


def _alignment(study: Study, tables: Tables) -> Iterator[Finding]:
    """How many tests of single refits say what."""
    tests = within_refits(study, tables)
    if tests.empty:
        return
    fewest, most = int(tests["n"].min()), int(tests["n"].max())
    prompts = f"{fewest} to {most} prompts" if fewest < most else amount(most, "prompt")
    confirmatory = bool(tests["role"].eq(CONFIRMATORY).all())
    kind, adjusted = ("confirmatory", "Holm") if confirmatory else ("exploratory", "Benjamini–Hochberg")
    yield described(
        "a count of verdicts",
        confirmatory=confirmatory,
        id="alignment",
        topic="alignment",
        headline=True,
        sentence=f"{estimator_title(study.comparison.primary)} under alignment, within refits: {_tally(tests)}.",
        numbers=(
            f"{amount(len(tests), f'{kind} test')}: {amount(tests['aligned'].nunique(), 'aligned model')}, each refit "
            f"tested on its own over {prompts}; {adjusted}-adjusted, level {study.comparison.level:g}; within a refit "
            "such a test says that the weights changed, which any further training does"
        ),
        n=len(tests),
        unit="test",
    )


def _bases(study: Study, tables: Tables) -> Iterator[Finding]:
    """Values of the bases; the headline of a study that compares nothing."""
    values = counted(tables["specialization"], tables["models"])
    values = values[is_primary(values, study.comparison.primary) & values["scope"].eq("model") & values["base"].isna()]
    means = values.groupby("model", sort=False)["value"].mean().dropna().sort_values(kind="stable")
    if means.empty:
        return
    named = [f"{plain(str(model))} {number(value)}" for model, value in means.items()]
    listed = ", ".join(named) if len(named) <= MOST_NAMED else f"{named[0]} to {named[-1]}"
    yield described(
        "a description, not a test",
        id="bases",
        topic="architecture",
        headline=tables["comparisons"].empty,
        sentence=(
            f"{estimator_title(study.comparison.primary)} of {amount(len(named), 'base model')}, mean over seeds: "
            f"{number(means.iloc[0])}{'' if len(named) == 1 else f' to {number(means.iloc[-1])}'}."
        ),
        numbers=listed,
        n=len(named),
        unit="model",
    )


def _methods(study: Study, tables: Tables) -> Iterator[Finding]:
    """Mean change under each method: over families, over all refits, and in how many refits."""
    pooled = _contrasts(study, tables, "alignment_pooled")
    tests = within_refits(study, tables)
    tests = tests.assign(estimate=tests["delta_absolute"])
    labels = labels_of_methods(study, tables)
    for row in records(pooled[pooled["unit"] == "family"]):
        method = labels[row["method"]]
        own = records(tests[same(tests["method"], row["method"])])
        sides = [shown(test, study.comparison.level) for test in own]
        same_method = same(pooled["method"], row["method"])
        over_refits = "".join(
            f"over all {units(each)}, taken as independent (exploratory, adjusted p "
            f"{p_value(each['p_adjusted'])}): {said(each)}; "
            for each in records(pooled[same_method & pooled["unit"].eq("refit") & pooled["p"].notna()])
        )
        yield tested(
            row,
            id=f"method:{_identifier(row['method'])}",
            topic="method",
            headline=True,
            sentence=(
                f"Under {method} the {estimator_label(row['estimator'])} changes by {signed(row['estimate'])} on "
                f"average over {units(row)}: {verdict_and_why(row)[0]}."
            ),
            numbers=(
                f"{over_refits}within refits, where prompts are the unit, {sides.count(-1)} of "
                f"{amount(len(own), 'test')} show a decrease and {sides.count(1)} an increase"
            ),
        )
        yield from _further_families(study, tables, row["method"])


def _further_families(study: Study, tables: Tables, method: str | None) -> Iterator[Finding]:
    """The random-effects mean under a method: what a further family would show, and whether one family carries it."""
    summary = _contrasts(study, tables, "alignment_random_effects")
    without = _contrasts(study, tables, "alignment_without_family")
    means = without[same(without["method"], method)].sort_values("estimate", kind="stable")
    for row in records(summary[same(summary["method"], method)]):
        ahead = "two families allow no prediction for a third"
        if not missing(row["prediction_low"]):
            span = interval(row["prediction_low"], row["prediction_high"])
            ahead = f"the change of a further family is expected at {span}"
        ends = [f"{signed(each['estimate'])} (without {plain(each['group'])})" for each in records(means.iloc[[0, -1]])]
        yield tested(
            row,
            id=f"families:{_identifier(method)}",
            topic="method",
            headline=False,
            sentence=(
                f"Under {labels_of_methods(study, tables)[method]}, families weighted by their errors, the "
                f"{estimator_label(row['estimator'])} changes by {signed(row['estimate'])}: {verdict_and_why(row)[0]}."
            ),
            numbers=f"{ahead}; leaving out one family, the mean change lies between {ends[0]} and {ends[1]}",
        )


def _architectures(study: Study, tables: Tables) -> Iterator[Finding]:
    """Each base against the reference, before alignment."""
    rows = records(_contrasts(study, tables, "architecture"))
    for row in rows:
        yield tested(
            row,
            id=f"architecture:{row['group']}",
            topic="architecture",
            about=(row["group"], row["reference"]),
            headline=len(rows) <= MOST_HEADLINES_OF_A_KIND,
            sentence=(
                f"{titled(plain(row['group']))} against {plain(row['reference'])}, before alignment: "
                f"{estimator_label(row['estimator'])} {signed(row['estimate'])}, {verdict_and_why(row)[0]}."
            ),
            numbers=f"{units(row)}{_at_equal_loss(row)}",
        )


def _at_equal_loss(row: Mapping[str, Any]) -> str:
    """The same between refits of one held-out loss, where that is known."""
    if missing(row["at_equal_loss_low"]):
        return ""
    return f", at equal held-out loss {at_equal_loss(row)}"


def _interactions(study: Study, tables: Tables) -> Iterator[Finding]:
    """Whether a method changes a base more than the reference."""
    labels = labels_of_methods(study, tables)
    for row in records(_contrasts(study, tables, "alignment_difference")):
        yield tested(
            row,
            id=f"interaction:{row['group']}:{_identifier(row['method'])}",
            topic="interaction",
            headline=False,
            sentence=(
                f"The change under {labels[row['method']]} of {plain(row['group'])} minus that of "
                f"{plain(row['reference'])} is {signed(row['estimate'])}: {verdict_and_why(row)[0]}."
            ),
            numbers=units(row),
        )


def _models(study: Study, tables: Tables) -> Iterator[Finding]:
    """Mean change of each aligned model over its refits, or in its one refit."""
    tests = tables["comparisons"]
    whole = tests["level"].eq("model") & tests["delta_absolute"].notna()
    tests = tests[whole & is_primary(tests, study.comparison.primary)]
    tests = tests.assign(estimate=tests["delta_absolute"])
    for aligned, own in tests.groupby("aligned", sort=False):
        refits, over = own[own["scope"].eq("refit") & own["role"].ne(REPEAT)], own[own["scope"] == "refits"]
        several = len(refits) > 1 and len(over) > 0
        for row in records((over if several else refits).head(1)):
            within = f"within refits: {_tally(refits)}" if several else ""
            yield tested(
                row,
                id=f"model:{aligned}",
                topic="model",
                about=(aligned, row["base"]),
                headline=False,
                sentence=(
                    f"{titled(plain(str(aligned)))} against {plain(row['base'])}: {signed(row['estimate'])}, "
                    f"{verdict_and_why(row)[0]}."
                ),
                numbers=within,
            )


def _contrasts(study: Study, tables: Tables, kind: str) -> pd.DataFrame:
    """Contrasts of one kind, of the primary estimator with all keys kept."""
    rows = tables["contrasts"]
    return rows[is_primary(rows, study.comparison.primary) & rows["kind"].eq(kind) & rows["estimate"].notna()]


def _tally(tests: pd.DataFrame) -> str:
    """How often each verdict occurs, the most frequent first: "10 decreased; 2 undecided"."""
    counts = Counter(verdict_and_why(row)[0] for row in records(tests))
    return "; ".join(f"{count} {verdict}" for verdict, count in counts.most_common())


def _identifier(method: str | None) -> str:
    """A method as part of an id, as it is written: no name is a hyphen alone."""
    return method or "-"
