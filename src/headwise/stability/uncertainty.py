"""Intervals over refits, for numbers that belong to pairs of refits, and trends over a handful of layers or heads."""

from collections.abc import Callable
from itertools import islice, permutations
from math import factorial

import numpy as np
import numpy.typing as npt

from headwise.statistics.intervals import Interval, bootstrap_intervals
from headwise.statistics.permutation import TIE_TOLERANCE, FloatArray, PermutationTest

EXACT_UNITS = 8  # units up to which all orders are enumerated: 40,320
ORDERS_AT_ONCE = 2**14
# Where chance leaves less room than this below 1, float16 decides what is in it.
SMALLEST_ROOM = 1e-4

# Maps means over pairs of refits (r, ...) of r resamples to outcomes (r, k).
PairStatistic = Callable[[FloatArray], FloatArray]


def pair_means(pairs: FloatArray, drawn: FloatArray) -> FloatArray:
    """Means (r, ...) of values of pairs of refits (R, R, ...), where refit i is drawn with weight drawn[r, i].

    A refit makes no pair with itself, nor with its own copy; a value that is not finite is left out. NaN where no pair
    is left.
    """
    refits = len(pairs)
    values = pairs.reshape(refits * refits, -1)
    defined = np.isfinite(values) & ~np.eye(refits, dtype=bool).reshape(-1, 1)
    weights = (drawn[:, :, None] * drawn[:, None, :]).reshape(len(drawn), -1)
    number = weights @ defined
    sums = weights @ np.where(defined, values, 0.0)
    means = sums / np.where(number > 0, number, np.nan)
    return means.reshape(len(drawn), *pairs.shape[2:])


def refit_intervals(
    pairs: FloatArray, statistic: PairStatistic, rng: np.random.Generator, resamples: int, level: float
) -> list[Interval]:
    """Percentile bootstrap over refits of a statistic of means over pairs of refits: one interval per outcome.

    pairs      (R, R, ...) values of ordered pairs of refits
    statistic  maps mean values (r, ...) to (r, k)

    Refits are drawn with replacement and with them all of their pairs. With three refits the resamples are few and the
    interval is narrower than it claims.
    """

    def of_draws(drawn: FloatArray) -> FloatArray:
        return statistic(pair_means(pairs, drawn))

    # The mean of unit vectors is how often each refit was drawn.
    units = np.eye(len(pairs))
    return bootstrap_intervals(units, of_draws, rng, resamples, level, method="percentile")


def correlation(one: npt.ArrayLike, two: npt.ArrayLike) -> float:
    """Pearson's r; NaN where fewer than two pairs are defined or one side does not vary."""
    x, y = (np.asarray(values, dtype=np.float64) for values in (one, two))
    defined = np.isfinite(x) & np.isfinite(y)
    (values,) = _correlations(x[defined], y[defined][None])
    return float(values)


def correlation_test(
    one: npt.ArrayLike, two: npt.ArrayLike, rng: np.random.Generator, resamples: int
) -> PermutationTest:
    """Test Pearson's r of a handful of units by putting one side into all, or random, orders; two-sided.

    Exact up to `EXACT_UNITS` units, else Monte Carlo with p = (b + 1) / (m + 1). The smallest attainable p is that of
    the order with the largest |r|: with two layers every order gives |r| = 1, so that it is 1.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (one, two))
    defined = np.isfinite(x) & np.isfinite(y)
    x, y, n = x[defined], y[defined], int(defined.sum())
    name = "two-sided permutation test of Pearson's r"
    observed = correlation(x, y)
    if not np.isfinite(observed):
        reason = "fewer than two units" if n < 2 else "one side does not vary"
        return PermutationTest(None, None, None, n, name, reason=reason)
    exact = n <= EXACT_UNITS
    orders = permutations(y) if exact else (rng.permutation(y) for _ in range(resamples))
    extreme = largest = 0.0
    tied = 0
    while chunk := list(islice(orders, ORDERS_AT_ONCE)):
        sizes = np.abs(_correlations(x, np.array(chunk)))
        extreme += np.sum(sizes >= abs(observed) - TIE_TOLERANCE)
        here = sizes.max()
        if here > largest + TIE_TOLERANCE:
            largest, tied = here, 0
        tied += int(np.sum(sizes >= largest - TIE_TOLERANCE))
    if exact:
        p, attainable, how = extreme / factorial(n), tied / factorial(n), f"exact over {factorial(n):,} orders"
    else:
        p, attainable = (extreme + 1) / (resamples + 1), 1 / (resamples + 1)
        how = f"Monte Carlo with {resamples:,} orders"
    hopeless = "no result can be significant: every order gives the same |r|" if attainable == 1 else None
    return PermutationTest(observed, float(p), float(attainable), n, f"{name}, {how}", reason=hopeless)


def depth_gap(layers: FloatArray) -> FloatArray:
    """Largest less smallest stability over layers: (...) from (..., L). NaN where a layer is undefined."""
    return layers.max(axis=-1) - layers.min(axis=-1)


def least_stable_position(layers: FloatArray) -> FloatArray:
    """Where the least stable layer lies, 0 the first and 1 the last: (...) from (..., L); NaN for a single layer."""
    depth = layers.shape[-1] - 1
    place = np.where(np.isnan(layers), np.inf, layers).argmin(axis=-1)
    return np.where(np.isnan(layers).any(axis=-1) | (depth == 0), np.nan, place / max(depth, 1))


def inner_dip(layers: FloatArray) -> FloatArray:
    """Mean of the first and the last layer less the mean of those between: (...) from (..., L); NaN for two layers."""
    if layers.shape[-1] < 3:
        return np.full(layers.shape[:-1], np.nan)
    return layers[..., [0, -1]].mean(axis=-1) - layers[..., 1:-1].mean(axis=-1)


def chance_corrected(value: FloatArray, chance: FloatArray) -> FloatArray:
    """(S − S₀) / (1 − S₀): 0 at the chance level and 1 where all agree; NaN where chance alone reaches 1."""
    room = 1 - chance
    return (value - chance) / np.where(room > SMALLEST_ROOM, room, np.nan)


def _correlations(x: FloatArray, orders: FloatArray) -> FloatArray:
    """Pearson's r of x (n,) with each row of `orders` (r, n); NaN where one side does not vary."""
    if len(x) < 2:
        return np.full(len(orders), np.nan)
    x, orders = x - x.mean(), orders - orders.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.sum(x**2) * np.sum(orders**2, axis=1))
    scale = np.abs(x).max() * np.abs(orders).max()
    return np.sum(orders * x, axis=1) / np.where(lengths > 1e-12 * max(scale, 1e-300), lengths, np.nan)
