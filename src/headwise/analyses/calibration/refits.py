"""Calibration of what is done over pairs of refits and over layers, and of the order of factors."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from headwise.analyses.calibration.between import NORMAL, SKEWED, covers, decided
from headwise.analyses.calibration.rates import Promise, Quantity, Rate, rate
from headwise.analyses.calibration.settings import Calibration
from headwise.analyses.calibration.shape import Shape
from headwise.analyses.calibration.within import RESAMPLES
from headwise.analyses.stability.uncertainty import correlation_test, difference_intervals, refit_intervals
from headwise.statistics.arrays import FloatArray
from headwise.statistics.decomposition import decompose
from headwise.statistics.procedures import Procedure

OF_PAIRS = 0.5  # deviation that pairs have of their own, where refits deviate by 1
FEW_RESAMPLES = 199  # of a decomposition, which is slow, and simulated a quarter as often
NOISE = 0.5  # deviation of models about factors with an effect of 1


def pair_intervals(shape: Shape, settings: Calibration, level: float, rng: np.random.Generator) -> Iterator[Rate]:
    """Coverage of the intervals of means over pairs of refits, of one group and between two."""
    r = shape.refits
    for scenario in (NORMAL, SKEWED):
        one, two = [], []
        for _ in range(settings.simulations):
            first, second = (pairs_of_refits(r, scenario, rng) for _ in range(2))
            (own,) = refit_intervals(first, whole, rng, RESAMPLES, level)
            (between,) = difference_intervals(first, second, whole, rng, RESAMPLES, level)
            one.append(covers(own, 0.0))
            two.append(covers(between, 0.0))
        # The jackknife counts what pairs have of their own too often: with a handful of refits it is somewhat too wide.
        promise: Promise = Promise.AT_LEAST if scenario == NORMAL else Promise.NONE
        shared: dict[str, Any] = {
            "quantity": Quantity.COVERAGE, "scenario": scenario,
            "reason": None if promise != Promise.NONE else "the interval assumes normal deviations",
        }  # fmt: skip
        yield rate(one, 1 - level, promise, procedure=Procedure.PAIRS_INTERVAL, units=f"{r} refits", **shared)
        yield rate(
            two,
            1 - level,
            promise,
            procedure=Procedure.PAIRS_DIFFERENCE,
            units=f"{r} + {r} refits",
            **shared,
        )


def whole(means: FloatArray) -> FloatArray:
    """The means themselves are the statistic."""
    return means


def pairs_of_refits(refits: int, scenario: str, rng: np.random.Generator) -> FloatArray:
    """Values of ordered pairs of refits, mean 0: (R, R, 1), the sum of what each refit and the pair deviate by."""
    deviations = rng.normal(size=refits) if scenario == NORMAL else rng.exponential(size=refits) - 1
    own = np.triu(rng.normal(size=(refits, refits)), 1)
    values: FloatArray = deviations[:, None] + deviations + OF_PAIRS * (own + own.T)
    return values[..., None]


def layer_trends(shape: Shape, settings: Calibration, level: float, rng: np.random.Generator) -> Iterator[Rate]:
    """Permutation test of a correlation over layers."""
    sample = rng.normal(size=(settings.simulations, 2, shape.layers))
    p_values = [correlation_test(one, two, rng, RESAMPLES).p for one, two in sample]
    yield rate(
        [decided(p, level) for p in p_values],
        level,
        Promise.AT_MOST,
        procedure=Procedure.CORRELATION,
        quantity=Quantity.REJECTION,
        scenario="no correlation",
        units=f"{shape.layers} layers",
    )


def factor_orders(shape: Shape, settings: Calibration, level: float, rng: np.random.Generator) -> Iterator[Rate]:
    """How often two factors that matter alike are said to be in an order."""
    models = max(4, shape.families)
    one, two = (np.arange(models) % 2, np.arange(models) // 2 % 2)
    factors = {name: np.repeat(each, shape.refits).astype(str).tolist() for name, each in (("one", one), ("two", two))}
    together = np.repeat(one + two, shape.refits)
    for effect in (0.0, 1.0):
        found = []
        for _ in range(max(1, settings.simulations // 4)):
            outcome = effect * together + NOISE * rng.normal(size=len(together))
            order = decompose(outcome, factors, rng, FEW_RESAMPLES, level)
            found.append(float(order.distinguishable()))
        yield rate(
            found,
            level,
            Promise.AT_MOST,
            procedure=Procedure.FACTOR_ORDER,
            quantity=Quantity.REJECTION,
            scenario="both factors have an effect" if effect else "no factor has an effect",
            units=f"{models} models of {shape.refits} refits",
        )
