"""What alignment does beyond its placebo: (arm − base) − (placebo − base) = arm − placebo, refit by refit."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from headwise.analyses.effects.rows import COLUMNS, EffectRow, Quantity, RefitEffect
from headwise.analyses.specialization.refits import differences
from headwise.analyses.specialization.rows import SpecializationRow
from headwise.report.gather import repeated_refits
from headwise.runtime.parquet import read_metadata
from headwise.statistics.arrays import FloatArray
from headwise.statistics.generators import generator_for
from headwise.statistics.intervals import t_interval, welch_interval
from headwise.statistics.multiplicity import benjamini_hochberg
from headwise.statistics.permutation import sign_flip, two_sample
from headwise.statistics.procedures import Procedure
from headwise.statistics.result import finite_or_none
from headwise.statistics.tested import cells_of
from headwise.study.comparison import Comparison
from headwise.tables.files import read_rows, write_rows
from headwise.tables.frame import frame_of, records

ALL = "all"


@dataclass(frozen=True)
class Arm:
    """An arm and its placebo, by their names in the study."""

    method: str
    dose: int
    base: str
    arm: str
    placebo: str


def measure_effects(
    summaries: Sequence[Path],
    specialization: Path,
    arms: Sequence[Arm],
    comparison: Comparison,
    reference: str,
    study: str,
    outputs: Mapping[str, Path],
) -> None:
    """Write the effects of every arm in every refit, and their means over refits.

    summaries       what estimators gave of every model and seed, for the digests of weights that they carry
    specialization  finished table of specialization
    arms            with their placebos
    reference       base whose effects the others are contrasted with

    A refit with the weights of an earlier one is left out.
    """
    repeats = set(repeated_refits((path, read_metadata(path)) for path in summaries))
    refits = refit_effects(read_rows(SpecializationRow, specialization), arms, repeats)
    shared = {"study": study}
    write_rows(RefitEffect, refits, outputs[RefitEffect.table], shared)
    frame = frame_of(RefitEffect, refits)
    write_rows(EffectRow, adjusted(effect_rows(frame, reference, comparison)), outputs[EffectRow.table], shared)


def refit_effects(
    specialization: pd.DataFrame, arms: Iterable[Arm], repeats: set[tuple[str, int]]
) -> list[RefitEffect]:
    """A row per arm, refit, estimator and sink of which all three models have been measured."""
    values: dict[str, dict[tuple[int, str, str], float]] = {}
    for row in records(specialization[specialization["scope"] == "model"]):
        value = np.nan if row["value"] is None else row["value"]
        values.setdefault(row["model"], {})[row["seed"], row["estimator"], row["sink"]] = value
    found = []
    for arm in arms:
        names = (arm.base, arm.arm, arm.placebo)
        base, aligned, placebo = (values.get(name, {}) for name in names)
        changes, placebo_changes = differences(aligned, base), differences(placebo, base)
        for key, effect in differences(aligned, placebo).items():
            seed, estimator, sink = key
            if key not in changes or any((name, seed) in repeats for name in names):
                continue
            found.append(
                RefitEffect(
                    estimator=estimator,
                    sink=sink,
                    method=arm.method,
                    dose=arm.dose,
                    base=arm.base,
                    arm=arm.arm,
                    placebo=arm.placebo,
                    seed=seed,
                    base_value=finite_or_none(base[key]),
                    arm_change=finite_or_none(changes[key]),
                    placebo_change=finite_or_none(placebo_changes[key]),
                    effect=finite_or_none(effect),
                )
            )
    return found


def effect_rows(refits: pd.DataFrame, reference: str, settings: Comparison) -> Iterator[EffectRow]:
    """Means of every quantity over the refits of each base and of all bases; and each base against the reference."""
    for _, rows in refits.groupby(["estimator", "sink", "method", "dose"], sort=False):
        first = records(rows.head(1))[0]
        blank = EffectRow(
            **{name: first[name] for name in ("estimator", "sink", "method", "dose")},
            quantity=Quantity.EFFECT,
            group=ALL,
            procedure=Procedure.REFITS,
            n=0,
            test="",
        )
        for quantity in Quantity:
            by_base = {str(base): values_of(own, quantity) for base, own in rows.groupby("base", sort=False)}
            samples = by_base if len(by_base) == 1 else {**by_base, ALL: values_of(rows, quantity)}
            row = replace(blank, quantity=quantity)
            for group, sample in samples.items():
                yield _mean(replace(row, group=group), sample, settings)
            for group, sample in by_base.items():
                if group != reference and reference in by_base:
                    other = replace(row, group=group, reference=reference, procedure=Procedure.TWO_SAMPLES)
                    yield _difference(other, sample, by_base[reference], settings)


def values_of(refits: pd.DataFrame, quantity: Quantity) -> FloatArray:
    """One number per refit (n,)."""
    if quantity == Quantity.LARGER:
        return (refits["arm_change"].abs() - refits["placebo_change"].abs()).to_numpy(np.float64)
    return refits[COLUMNS[quantity]].to_numpy(np.float64)


def adjusted(rows: Iterable[EffectRow]) -> list[EffectRow]:
    """The rows with p adjusted over those of one quantity, estimator and sink (Benjamini and Hochberg 1995)."""
    groups: dict[tuple[str, str, str], list[EffectRow]] = {}
    for row in rows:
        groups.setdefault((row.quantity, row.estimator, row.sink), []).append(row)
    return [
        replace(row, p_adjusted=finite_or_none(p))
        for own in groups.values()
        for row, p in zip(own, benjamini_hochberg([np.nan if row.p is None else row.p for row in own]).p, strict=True)
    ]


def _mean(row: EffectRow, sample: FloatArray, settings: Comparison) -> EffectRow:
    test = sign_flip(sample, _generator(row), settings.resamples)
    finite = sample[np.isfinite(sample)]
    deviation = float(finite.std(ddof=1)) if len(finite) > 1 else None
    return replace(row, deviation=deviation, **cells_of(test, t_interval(sample, settings.level)))


def _difference(row: EffectRow, sample: FloatArray, reference: FloatArray, settings: Comparison) -> EffectRow:
    test = two_sample(sample, reference, _generator(row), settings.resamples)
    return replace(row, **cells_of(test, welch_interval(sample, reference, settings.level)))


def _generator(row: EffectRow) -> np.random.Generator:
    names = (row.quantity, row.estimator, row.sink, row.method, row.dose, row.group)
    return generator_for("effect", *names, *(() if row.reference is None else (row.reference,)))
