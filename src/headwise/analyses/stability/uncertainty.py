"""Intervals over refits, for numbers that belong to pairs of refits, and trends over a handful of layers or heads."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice, permutations
from math import factorial, prod

import numpy as np
import numpy.typing as npt

from headwise.statistics.arrays import FloatArray
from headwise.statistics.clusters import times_drawn
from headwise.statistics.intervals import (
    FEW_CLUSTERS,
    Interval,
    bootstrap_intervals,
    jackknife,
    jackknife_intervals,
    welch_from_errors,
)
from headwise.statistics.permutation import CHUNK_VALUES, PermutationTest
from headwise.statistics.result import joined
from headwise.statistics.ties import difference, is_constant, largest, rescaled, tolerance
from headwise.statistics.values import left_out, numbers, support

EXACT_UNITS = 8  # units up to which all orders are enumerated: 40,320
ORDERS_AT_ONCE = 2**14
# Where chance leaves less room than this below 1, float16 decides what is in it.
SMALLEST_ROOM = 1e-4
NO_PAIR = "refits without a finite value, left out: {}"
ONE_PAIR = "two refits make one pair: an interval needs three refits"

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
    """Intervals over refits of a statistic of means over pairs of refits: one per outcome.

    pairs      (R, R, ...) values of ordered pairs of refits
    statistic  maps mean values (r, ...) to (r, k)

    With `FEW_CLUSTERS` refits or more the percentile bootstrap: refits are drawn with replacement and with them all of
    their pairs. With fewer that is too narrow, and the interval is Student's t with the jackknife error over refits
    (Arvesen 1969 for means over pairs). With two refits there is one pair and no interval.
    """
    found: dict[int, Interval] = {}
    for outcomes, used in _support(pairs, statistic):
        own = _refit_intervals(pairs[np.ix_(used, used)], statistic, rng, resamples, level)
        unusable = left_out(int((~used).sum()), NO_PAIR)
        found |= {int(k): replace(own[k], reason=joined(unusable, own[k].reason)) for k in outcomes}
    return [found[k] for k in sorted(found)]


def _refit_intervals(
    pairs: FloatArray, statistic: PairStatistic, rng: np.random.Generator, resamples: int, level: float
) -> list[Interval]:
    refits = len(pairs)

    def of_draws(drawn: FloatArray) -> FloatArray:
        return statistic(pair_means(pairs, drawn))

    # The mean of unit vectors is how often each refit was drawn.
    units = np.eye(refits)
    if refits >= FEW_CLUSTERS:
        return bootstrap_intervals(units, of_draws, rng, resamples, level, method="percentile")
    intervals = jackknife_intervals(units, of_draws, level)
    if refits > 2:
        return intervals
    return [each if each.estimate is None else replace(each, reason=ONE_PAIR) for each in intervals]


def _support(pairs: FloatArray, statistic: PairStatistic) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]]:
    """Outcomes that rest on the same refits, with these: those that have a pair among the values that move them."""
    refits, shape = len(pairs), pairs.shape[2:]
    finite = np.isfinite(pairs) & ~np.eye(refits, dtype=bool).reshape(refits, refits, *(1 for _ in shape))
    defined = (finite.any(axis=0) | finite.any(axis=1)).reshape(refits, -1)
    (means,) = pair_means(pairs, np.ones((1, refits)))
    groups = support(defined, means.ravel(), lambda each: statistic(each.reshape(len(each), *shape)))
    # With fewer than two refits there is no pair to be undefined.
    return [(outcomes, used if used.any() else np.ones(refits, dtype=bool)) for outcomes, used in groups]


def difference_intervals(
    first: FloatArray,
    second: FloatArray,
    statistic: PairStatistic,
    rng: np.random.Generator,
    resamples: int,
    level: float,
) -> list[Interval]:
    """As `refit_intervals`, of the difference second − first of two independent groups of refits, (R, R, ...) each.

    Where either group is small, both have jackknife errors, and degrees of freedom are those of Welch (1947).
    """
    found: dict[int, Interval] = {}
    for one, used in _support(first, statistic):
        for two, others in _support(second, statistic):
            shared = np.intersect1d(one, two)
            if not len(shared):
                continue
            parts = first[np.ix_(used, used)], second[np.ix_(others, others)]
            own = _difference_intervals(*parts, statistic, rng, resamples, level)
            unusable = left_out(int((~used).sum() + (~others).sum()), NO_PAIR)
            found |= {int(k): replace(own[k], reason=joined(unusable, own[k].reason)) for k in shared}
    return [found[k] for k in sorted(found)]


def _difference_intervals(
    first: FloatArray,
    second: FloatArray,
    statistic: PairStatistic,
    rng: np.random.Generator,
    resamples: int,
    level: float,
) -> list[Interval]:
    if min(len(first), len(second)) < FEW_CLUSTERS:
        return _welch_intervals(first, second, statistic, level)
    drawn = []
    for pairs in (first, second):
        count = len(pairs)
        weights = times_drawn(count, resamples, rng)
        rows = max(1, CHUNK_VALUES // (count * count))
        parts = [statistic(pair_means(pairs, weights[start : start + rows])) for start in range(0, resamples, rows)]
        whole = statistic(pair_means(pairs, np.ones((1, count))))
        drawn.append((whole[0], np.concatenate(parts)))
    (one, of_one), (two, of_two) = drawn
    n = len(first) + len(second)
    words = f"percentile bootstrap over refits of both groups, {resamples:,} resamples"
    return [
        _percentiles(float(estimate), values, level, n, words)
        for estimate, values in zip(difference(two, one), (of_two - of_one).T, strict=True)
    ]


def _welch_intervals(first: FloatArray, second: FloatArray, statistic: PairStatistic, level: float) -> list[Interval]:
    def errors_of(pairs: FloatArray) -> tuple[FloatArray, FloatArray, int]:
        return jackknife(np.eye(len(pairs)), lambda drawn: statistic(pair_means(pairs, drawn)))

    (one, of_one, n_one), (two, of_two, n_two) = errors_of(first), errors_of(second)
    words = "Welch's t with jackknife errors over refits"
    intervals = []
    for estimate, *errors in zip(difference(two, one), of_one, of_two, strict=True):
        if not np.isfinite(estimate):
            found = Interval(None, None, None, level, n_one + n_two, words, "the statistic is undefined")
        elif not np.isfinite(errors).all():
            reason = ONE_PAIR if min(n_one, n_two) < 3 else "the statistic is undefined without one of the refits"
            found = Interval(float(estimate), None, None, level, n_one + n_two, words, reason)
        else:
            found = welch_from_errors(float(estimate), errors, [n_one, n_two], level, words)
        intervals.append(found)
    return intervals


def _percentiles(estimate: float, drawn: FloatArray, level: float, n: int, words: str) -> Interval:
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(estimate) or not len(defined):
        return Interval(None, None, None, level, n, words, "the statistic is undefined")
    low, high = np.quantile(defined, [level / 2, 1 - level / 2])
    missing = len(drawn) - len(defined)
    reason = f"the statistic is undefined in {missing:,} resamples" if missing else None
    return Interval(estimate, float(low), float(high), level, n, words, reason)


def correlation(one: npt.ArrayLike, two: npt.ArrayLike) -> float:
    """Pearson's r; NaN where fewer than two pairs are defined or one side does not vary."""
    x, y = _pairs(one, two)
    (values,) = _correlations(x, y[None])
    return float(values)


def correlation_test(
    one: npt.ArrayLike, two: npt.ArrayLike, rng: np.random.Generator, resamples: int
) -> PermutationTest:
    """Test Pearson's r of a handful of units by putting one side into all, or random, orders; two-sided.

    Exact up to `EXACT_UNITS` units, else Monte Carlo with p = (b + 1) / (m + 1). The smallest attainable p is that of
    the order with the largest |r|: with two layers every order gives |r| = 1, so that it is 1. Units without a finite
    number on either side are left out, and the reason says how many.
    """
    x, y = _pairs(one, two)
    n, unusable = len(x), left_out(len(numbers(one, "one")) - len(x))
    name = "two-sided permutation test of Pearson's r"
    observed = correlation(x, y)
    if not np.isfinite(observed):
        reason = joined(unusable, "fewer than two units" if n < 2 else "one side does not vary")
        return PermutationTest(None, None, None, n, name, reason=reason)
    exact, tied = n <= EXACT_UNITS, _rounding(x, y)
    orders = permutations(y) if exact else (rng.permutation(y) for _ in range(resamples))
    extreme, largest_size, at_largest = 0, 0.0, 0
    while chunk := list(islice(orders, ORDERS_AT_ONCE)):
        sizes = np.abs(_correlations(x, np.array(chunk)))
        extreme += int(np.sum(sizes >= abs(observed) - tied))
        here = float(sizes.max())
        if here > largest_size + tied:
            largest_size, at_largest = here, 0
        at_largest += int(np.sum(sizes >= largest_size - tied))
    if exact:
        p, attainable, how = extreme / factorial(n), at_largest / factorial(n), f"exact over {factorial(n):,} orders"
    else:
        p, attainable = (extreme + 1) / (resamples + 1), 1 / (resamples + 1)
        how = f"Monte Carlo with {resamples:,} orders"
    hopeless = "no result can be significant: every order gives the same |r|" if attainable == 1 else None
    return PermutationTest(observed, p, attainable, n, f"{name}, {how}", reason=joined(unusable, hopeless))


def mean_correlation_test(
    one: FloatArray, two: FloatArray, rng: np.random.Generator, resamples: int
) -> PermutationTest:
    """Test the mean over refits of Pearson's r over heads, (R, H) both, by shuffling heads within each refit.

    Exact for one refit with few heads; else Monte Carlo. Heads without a number on either side are left out of their
    refit, and refits whose r is undefined altogether; the reason says how many refits.
    """
    one, two = numbers(one, "one", 2), numbers(two, "two", 2)
    if len(one) and one.shape != two.shape:
        raise ValueError(f"values have shapes {one.shape} and {two.shape}: give both the same refits and heads")
    refits = [_pairs(*rows) for rows in zip(one, two, strict=True)]
    kept = [pair for pair in refits if np.isfinite(correlation(*pair))]
    unusable = left_out(len(refits) - len(kept), "refits without a defined r, left out: {}")
    if len(kept) == 1:
        alone = correlation_test(*kept[0], rng, resamples)
        return replace(alone, reason=joined(unusable, alone.reason))
    name = "two-sided permutation test of the mean of Pearson's r over refits"
    if not kept:
        return PermutationTest(None, None, None, 0, name, reason="no refit has a defined r")
    observed = float(np.mean([correlation(*pair) for pair in kept]))
    drawn = np.zeros(resamples)
    for x, y in kept:
        orders = rng.permuted(np.tile(y, (resamples, 1)), axis=1)
        drawn += _correlations(x, orders) / len(kept)
    tied = max(_rounding(x, y) for x, y in kept)
    extreme = int(np.sum(np.abs(drawn) >= abs(observed) - tied))
    designs = prod(factorial(len(x)) for x, _ in kept)
    attainable = max(1 / (resamples + 1), min(1.0, 2 / designs))
    method = f"{name}, Monte Carlo with {resamples:,} orders"
    return PermutationTest(observed, (extreme + 1) / (resamples + 1), attainable, len(kept), method, reason=unusable)


def depth_gap(layers: FloatArray) -> FloatArray:
    """Largest less smallest stability over layers: (...) from (..., L). NaN where a layer is undefined."""
    return layers.max(axis=-1) - layers.min(axis=-1)


def least_stable_position(layers: FloatArray) -> FloatArray:
    """Where the least stable layer lies, 0 the first and 1 the last: (...) from (..., L); NaN for a single layer."""
    depth = layers.shape[-1] - 1
    known = np.where(np.isnan(layers), np.inf, layers)
    least = known.min(axis=-1, keepdims=True)
    # The first of those that are equal but for rounding.
    place = (known <= least + tolerance(np.abs(least))).argmax(axis=-1)
    return np.where(np.isnan(layers).any(axis=-1) | (depth == 0), np.nan, place / max(depth, 1))


def inner_dip(layers: FloatArray) -> FloatArray:
    """The lower of the first and the last layer less the mean of those between: (...) from (..., L).

    A curve that falls to the last layer is below zero. NaN for two layers.
    """
    if layers.shape[-1] < 3:
        return np.full(layers.shape[:-1], np.nan)
    return layers[..., [0, -1]].min(axis=-1) - layers[..., 1:-1].mean(axis=-1)


def chance_corrected(value: npt.ArrayLike, chance: npt.ArrayLike) -> FloatArray:
    """(S − S₀) / (1 − S₀): 0 at the chance level and 1 where all agree; NaN where chance alone reaches 1."""
    value, chance = np.asarray(value, dtype=np.float64), np.asarray(chance, dtype=np.float64)
    room = 1 - chance
    corrected: FloatArray = (value - chance) / np.where(room > SMALLEST_ROOM, room, np.nan)
    return corrected


def _pairs(one: npt.ArrayLike, two: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both numbers of the units that have two finite ones."""
    x, y = numbers(one, "one"), numbers(two, "two")
    if len(x) != len(y):
        raise ValueError(f"{len(x)} numbers for {len(y)}: give both for every unit")
    defined = np.isfinite(x) & np.isfinite(y)
    return x[defined], y[defined]


def _correlations(x: FloatArray, orders: FloatArray) -> FloatArray:
    """Pearson's r of x (n,) with each row of `orders` (r, n); NaN where one side does not vary."""
    if len(x) < 2 or is_constant(x) or is_constant(orders[0]):
        return np.full(len(orders), np.nan)
    ((x,), _), ((orders,), _) = rescaled(x), rescaled(orders)
    x, orders = x - x.mean(), orders - orders.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.sum(x**2) * np.sum(orders**2, axis=1))
    found: FloatArray = np.sum(orders * x, axis=1) / lengths
    return found


def _rounding(x: FloatArray, y: FloatArray) -> float:
    """Largest distance of two equal correlations of these numbers: a common offset costs digits."""
    return sum(
        tolerance(largest(side), len(side)) / largest(side - side.mean()) for (side,), _ in (rescaled(x), rescaled(y))
    )
