"""Calibration of what is done over refits and families, where units are few."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from headwise.analyses.calibration.rates import Promise, Quantity, Rate, rate
from headwise.analyses.calibration.settings import Calibration
from headwise.analyses.calibration.shape import Shape
from headwise.analyses.calibration.within import RESAMPLES, differences, swap_p
from headwise.statistics.arrays import FloatArray
from headwise.statistics.effects import random_effects
from headwise.statistics.intervals import Interval, t_interval, welch_interval
from headwise.statistics.multiplicity import holm
from headwise.statistics.permutation import PermutationTest, attainable_level, sign_flip, two_sample
from headwise.statistics.procedures import Procedure
from headwise.statistics.result import Result
from headwise.statistics.roc import roc_area
from headwise.statistics.shapley import columns_of, freedman_lane
from headwise.statistics.survival import restricted_mean_difference

NORMAL, SKEWED = "normal deviations", "skewed deviations"
WITHIN_FAMILY = 0.5  # deviation of refits, where families deviate by 1
HORIZON = 50.0


def decided(p: float | None, level: float) -> float:
    return np.nan if p is None else float(p <= level)


def covers(interval: Interval | Result, truth: float) -> float:
    return np.nan if interval.low is None or interval.high is None else float(interval.low <= truth <= interval.high)


def mean_tests(shape: Shape, settings: Calibration, level: float, rng: np.random.Generator) -> Iterator[Rate]:
    """Sign flips and Student's t over refits, and over families."""
    for procedure, interval, unit, n in (
        (Procedure.REFITS, Procedure.REFITS_INTERVAL, "refits", shape.refits),
        (Procedure.FAMILIES, Procedure.FAMILIES_INTERVAL, "families", shape.families),
    ):

        def test(effect: float, n: int = n) -> tuple[PermutationTest, Interval]:
            sample = effect + rng.normal(size=n)
            return sign_flip(sample, rng, RESAMPLES), t_interval(sample, level)

        yield from _with_power(test, procedure, interval, Promise.EXACTLY, f"{n} {unit}", settings, level)
        skewed = [t_interval(rng.exponential(size=n) - 1, level) for _ in range(settings.simulations)]
        yield rate(
            [covers(each, 0.0) for each in skewed],
            1 - level,
            Promise.NONE,
            procedure=interval,
            quantity=Quantity.COVERAGE,
            scenario=SKEWED,
            units=f"{n} {unit}",
            reason="the interval assumes normal deviations",
        )


def difference_tests(shape: Shape, settings: Calibration, level: float, rng: np.random.Generator) -> Iterator[Rate]:
    """Two-sample permutation tests and Welch's intervals between the refits of two models."""

    def test(effect: float) -> tuple[PermutationTest, Interval]:
        first, second = effect + rng.normal(size=shape.refits), rng.normal(size=shape.refits)
        return two_sample(first, second, rng, RESAMPLES), welch_interval(first, second, level)

    units = f"{shape.refits} + {shape.refits} refits"
    # Welch's degrees of freedom are estimated: with a handful of units the interval is somewhat too wide.
    own = (Procedure.TWO_SAMPLES, Procedure.TWO_SAMPLES_INTERVAL, Promise.AT_LEAST)
    yield from _with_power(test, *own, units, settings, level)


def _with_power(
    test: Callable[[float], tuple[PermutationTest, Interval]],
    procedure: Procedure,
    interval: Procedure,
    coverage: Promise,
    units: str,
    settings: Calibration,
    level: float,
) -> Iterator[Rate]:
    """Level and power of a test, and coverage of the interval beside it."""
    null = [test(0.0) for _ in range(settings.simulations)]
    smallest = null[0][0].p_attainable or 1.0
    expected = attainable_level(smallest, level)
    remark = f"the smallest attainable p is {smallest:.3g}: the test cannot reject" if expected == 0 else None
    shared: dict[str, Any] = {"units": units, "scenario": NORMAL}
    yield rate(
        [decided(each.p, level) for each, _ in null],
        expected,
        Promise.EXACTLY,
        procedure=procedure,
        quantity=Quantity.REJECTION,
        reason=remark,
        **shared,
    )
    yield rate(
        [covers(each, 0.0) for _, each in null],
        1 - level,
        coverage,
        procedure=interval,
        quantity=Quantity.COVERAGE,
        **shared,
    )
    for effect in settings.effects:
        found = [decided(test(effect)[0].p, level) for _ in range(settings.simulations if expected else 0)]
        yield rate(
            found,
            None,
            Promise.NONE,
            procedure=procedure,
            quantity=Quantity.POWER,
            effect=effect,
            reason=remark,
            **shared,
        )


def family_summaries(shape: Shape, settings: Calibration, level: float, rng: np.random.Generator) -> Iterator[Rate]:
    """Random-effects mean and prediction interval."""
    f, r = shape.families, shape.refits
    rejected, covered, ahead = [], [], []
    for _ in range(settings.simulations):
        families = rng.normal(size=f + 1)
        refits = families[:f, None] + WITHIN_FAMILY * rng.normal(size=(f, r))
        errors = np.sqrt(refits.var(axis=1, ddof=1) / r) if r > 1 else np.full(f, np.nan)
        found = random_effects(refits.mean(axis=1), errors, level)
        rejected.append(decided(found.p, level))
        covered.append(covers(found, 0.0))
        predicted = None if found.prediction_low is None else (found.prediction_low, found.prediction_high or 0.0)
        ahead.append(np.nan if predicted is None else float(predicted[0] <= families[f] <= predicted[1]))
    shared: dict[str, Any] = {
        "scenario": f"refits deviate by {WITHIN_FAMILY:g} of what families do",
        "units": f"{f} families of {r} refits",
    }
    yield rate(
        rejected, level, Promise.AT_MOST, procedure=Procedure.RANDOM_EFFECTS, quantity=Quantity.REJECTION, **shared
    )
    yield rate(
        covered, 1 - level, Promise.AT_LEAST, procedure=Procedure.RANDOM_EFFECTS, quantity=Quantity.COVERAGE, **shared
    )
    yield rate(
        ahead, 1 - level, Promise.AT_LEAST, procedure=Procedure.FAMILY_PREDICTION, quantity=Quantity.COVERAGE, **shared
    )


def confirmatory_set(shape: Shape, settings: Calibration, level: float, rng: np.random.Generator) -> Iterator[Rate]:
    """Any rejection in the whole confirmatory set after Holm's adjustment: tests of pairs and of their pooled mean."""
    simulations, tests = settings.simulations, max(1, shape.pairs) * shape.refits
    within = [swap_p(differences(shape, 0.0, simulations, rng), rng) for _ in range(tests)]
    pooled = [
        sign_flip(sample, rng, RESAMPLES).p or np.nan for sample in rng.normal(size=(simulations, shape.families))
    ]
    rejected = [holm(p, level).rejected.any() for p in np.column_stack([*within, pooled])]
    yield rate(
        rejected,
        level,
        Promise.AT_MOST,
        procedure=Procedure.CONFIRMATORY_SET,
        quantity=Quantity.REJECTION,
        scenario="no model changes",
        units=f"{tests} tests over prompts, 1 over families",
    )


def further_tests(shape: Shape, settings: Calibration, level: float, rng: np.random.Generator) -> Iterator[Rate]:
    """ROC area, restricted mean time and the test of a factor, on as many units as the study has models and refits."""
    n = max(4, shape.pairs * shape.refits // 2)
    areas = [
        roc_area(rng.normal(size=n), rng.normal(size=n), rng, RESAMPLES // 10, level)
        for _ in range(settings.simulations)
    ]
    yield from _level_and_coverage(Procedure.ROC_AREA, areas, 0.5, Promise.AT_LEAST, f"{n} + {n} units", level)
    times = []
    for _ in range(settings.simulations):
        groups = [_censored(n, rng) for _ in range(2)]
        times.append(restricted_mean_difference(groups[0], groups[1], HORIZON, rng, RESAMPLES // 10, level))
    yield from _level_and_coverage(Procedure.MEAN_TIMES, times, 0.0, Promise.AT_LEAST, f"{n} + {n} units", level)
    models = max(2, shape.families)
    factor = [str(model % 2) for model in range(models) for _ in range(shape.refits)]
    other = [str(model // 2) for model in range(models) for _ in range(shape.refits)]
    blocks = {"factor": columns_of(factor), "other": columns_of(other)}
    p_values = [
        freedman_lane(sample, blocks, "factor", rng, RESAMPLES // 10)
        for sample in 3.0 * blocks["other"].sum(axis=1) + rng.normal(size=(settings.simulations, len(factor)))
    ]
    yield rate(
        [decided(p, level) for p in p_values],
        level,
        Promise.AT_MOST,
        procedure=Procedure.FACTOR,
        quantity=Quantity.REJECTION,
        scenario="another factor has an effect",
        units=f"{models} models of {shape.refits} refits",
    )


def _level_and_coverage(
    procedure: Procedure, results: list[Result], truth: float, coverage: Promise, units: str, level: float
) -> Iterator[Rate]:
    """Level of the test and coverage of the interval of results, one per simulated data set."""
    shared: dict[str, Any] = {"procedure": procedure, "scenario": "one distribution", "units": units}
    yield rate(
        [decided(each.p, level) for each in results], level, Promise.AT_MOST, quantity=Quantity.REJECTION, **shared
    )
    yield rate([covers(each, truth) for each in results], 1 - level, coverage, quantity=Quantity.COVERAGE, **shared)


def _censored(n: int, rng: np.random.Generator) -> tuple[FloatArray, Any]:
    """Times with a mean of half the horizon, followed to the horizon."""
    times = rng.exponential(HORIZON / 2, size=n)
    return np.minimum(times, HORIZON), times <= HORIZON
