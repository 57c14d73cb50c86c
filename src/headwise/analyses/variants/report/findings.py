"""What variants of the extraction showed, in sentences computed from the table of confounds."""

from collections.abc import Iterable, Iterator

import pandas as pd

from headwise.analyses.variants.report.confounded import confounded_pairs
from headwise.analyses.variants.settings import STUDY
from headwise.report.columns import Tables, sign
from headwise.report.finding import Finding, described
from headwise.report.labels import amount, estimator_label, estimator_title, missing, number, plain, signed, titled
from headwise.report.view import Row
from headwise.statistics.ratio_verdict import RatioVerdict
from headwise.study.study import Study
from headwise.tables.frame import records

# Its index is the one of every published number, so that the published protocols matter most to it.
PUBLISHED = "entropy_profile"
MOST_NAMED = 4
MOST_CHOICES_NAMED = 2


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """How far choices move each estimator, the control of padding, and comparisons that differ in such a choice."""
    rows = tables["confounds"]
    rows = rows[rows["sink"].eq("kept") & rows["mean_absolute_difference"].notna()]
    yield from _moved(study, rows)
    yield from _turned(study, rows)
    yield from _padding(tables["confounds"])
    yield from _confounded(study, tables)


def choice_label(row: Row) -> str:
    """A variant and what it changes: "right unmasked (averaging)"."""
    return f"{plain(row['variant'])} ({row['choices'].replace('_', ' ')})"


def _brief(row: Row) -> str:
    """As `choice_label` for a sentence: a protocol that makes many choices is named alone."""
    return choice_label(row) if row["choice_count"] <= MOST_CHOICES_NAMED else plain(row["variant"])


def _moved(study: Study, rows: pd.DataFrame) -> Iterator[Finding]:
    """For each estimator: which choices move it by more than alignment does, and by how much."""
    for estimator, own in rows[rows["alignment_effect"].notna()].groupby("estimator", sort=False):
        ranked = sorted(records(own), key=lambda row: -row["mean_absolute_difference"])
        effect = ranked[0]["alignment_effect"]
        larger = [row for row in ranked if row["mean_absolute_difference"] > effect]
        smaller = ranked[len(larger) :]
        named = [f"{_brief(row)} by {_size(row)}" for row in larger[:MOST_NAMED]]
        if len(larger) > len(named):
            named.append(f"{len(larger) - len(named)} more")
        largest = f"; of the others {_brief(smaller[0])} moves it most, by {_size(smaller[0])}" if smaller else ""
        doubt = ", which cannot be told from 0, so that ratios to it have no bounds" if unbounded(ranked[0]) else ""
        yield described(
            "a description, not a test",
            id=f"confound:{estimator}",
            topic="check",
            headline=estimator in (study.comparison.primary, PUBLISHED),
            sentence=(
                f"{estimator_title(str(estimator))}: {len(larger)} of {amount(len(ranked), 'variant')} of the "
                "extraction move it by more than alignment does."
            ),
            numbers=(
                f"alignment: {number(effect, 4)} on average{doubt}{'; ' if named else ''}{'; '.join(named)}{largest}; "
                f"means of the absolute difference over up to {amount(int(own['measured'].max()), 'model')}, each "
                "against itself"
            ),
            estimate=ranked[0]["mean_absolute_difference"],
            n=int(own["measured"].max()),
            unit="model",
        )


def _size(row: Row) -> str:
    """Mean absolute difference, and how many times the change under alignment that is."""
    return f"{number(row['mean_absolute_difference'], 4)}{_times(row['shift_over_alignment'])}"


def unbounded(row: Row) -> bool:
    """Whether the change under alignment of a row cannot be told from 0, so that there is no ratio to it."""
    return bool(row["verdict"] == RatioVerdict.UNBOUNDED)


def _times(ratio: object) -> str:
    """How many times the change under alignment, in brackets; nothing where that is undefined."""
    if missing(ratio):
        return ""
    times = f"{float(str(ratio)):,.1f}"
    return " (less than 0.1 times)" if times == "0.0" else f" ({times} times)"


def _turned(study: Study, rows: pd.DataFrame) -> Iterator[Finding]:
    """For each estimator: where alignment goes the other way although both models are measured alike."""
    compared = rows[rows["alignment_effect_under_variant"].notna()]
    for estimator, own in compared.groupby("estimator", sort=False):
        both = records(own)
        signs = [
            (sign(row["alignment_effect_under_variant"]), sign(row["alignment_effect_under_reference"])) for row in both
        ]
        turned = [row for row, (here, there) in zip(both, signs, strict=True) if here * there < 0]
        named = [f"{_brief(row)}, {effects(row)}" for row in turned[:MOST_NAMED]]
        if len(turned) > len(named):
            named.append(f"{len(turned) - len(named)} more")
        yield described(
            "a description, not a test",
            id=f"turned:{estimator}",
            topic="check",
            headline=bool(turned) and estimator in (study.comparison.primary, PUBLISHED),
            sentence=(
                f"{estimator_title(str(estimator))}, both models measured alike: the mean change has another sign than "
                f"under the reference in {len(turned)} of {amount(len(both), 'variant')}."
            ),
            numbers="; ".join([f"over {amount(int(own['pairs'].max()), 'pair')}", *named]),
            n=int(own["pairs"].max()),
            unit="pair",
        )


def effects(row: Row) -> str:
    """The change under alignment in the measured pairs, under the reference and under the variant."""
    return f"{signed(row['alignment_effect_under_reference'])} → {signed(row['alignment_effect_under_variant'])}"


def _padding(rows: pd.DataFrame) -> Iterator[Finding]:
    """Whether padding alone, kept out of mask, positions and statistics, changes nothing beyond rounding."""
    controls = records(rows[rows["tolerance"].notna() & rows["largest_absolute_difference"].notna()])
    if not controls:
        return
    failed = [row for row in controls if row["largest_absolute_difference"] > row["tolerance"]]
    worst = max(controls, key=lambda row: row["largest_absolute_difference"] / row["tolerance"])
    verdict = f"exceeded in {len(failed)} of {len(controls)} rows" if failed else "kept in all rows"
    yield described(
        "a control, not a test",
        id="check:padding",
        topic="check",
        headline=bool(failed),
        sentence=(f"Padding on either side must change no estimator beyond rounding: {verdict}."),
        numbers=(
            "pads out of mask and statistics, positions counted from the first real token; "
            f"{_tolerances(controls)}; nearest to its limit: {plain(worst['variant'])}, "
            f"{estimator_label(worst['estimator'])}, by {worst['largest_absolute_difference']:.1g} in "
            f"{plain(worst['largest_model'])}"
        ),
        estimate=worst["largest_absolute_difference"],
        n=max(row["measured"] for row in controls),
        unit="model",
    )


def _tolerances(controls: Iterable[Row]) -> str:
    """What is allowed in which variant: "0.0001 in right, left; 0.02 in bfloat16 left"."""
    variants: dict[float, dict[str, None]] = {}
    for row in controls:
        variants.setdefault(row["tolerance"], {})[plain(row["variant"])] = None
    return "; ".join(f"{tolerance:g} in {', '.join(names)}" for tolerance, names in variants.items())


def _confounded(study: Study, tables: Tables) -> Iterator[Finding]:
    """Pairs that were not measured alike, with what the difference alone moves where that was measured."""
    for pair in confounded_pairs(tables):
        yield described(
            f"{plain(pair.factor)}s differ: confounded",
            id=f"confounded:{pair.aligned}:{pair.factor}",
            topic="model",
            headline=True,
            sentence=(
                f"{titled(plain(pair.aligned))} was measured with {plain(pair.factor)} {pair.of_aligned}, its base "
                f"{plain(pair.base)} with {pair.of_base}: their difference is not alignment alone."
            ),
            numbers=_alone(study, tables, pair.factor),
            n=1,
            unit="model",
        )


def _alone(study: Study, tables: Tables, factor: str) -> str:
    """What the factor alone moves the primary estimator by, as far as variants have measured it."""
    rows = tables["confounds"]
    rows = rows[
        rows["estimator"].eq(study.comparison.primary)
        & rows["sink"].eq("kept")
        & rows["choices"].eq(factor)
        & rows["reference"].eq(STUDY)
        & rows["mean_absolute_difference"].notna()
    ]
    return "; ".join(
        f"the {plain(factor)} alone ({plain(row['variant'])}) moves the {estimator_label(row['estimator'])} by "
        f"{number(row['mean_absolute_difference'], 4)} on average"
        for row in records(rows)
    )
