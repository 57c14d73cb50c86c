"""Permutation tests, exact where that is feasible, each with the smallest p-value that its design can attain.

All tests are two-sided. An exact p-value is the share of arrangements whose statistic is at least as far from
zero as the observed one. A Monte Carlo p-value is (b + 1) / (m + 1) for b of m random arrangements (Phipson &
Smyth 2010): it is never zero, and the test keeps its level.

scipy.stats.permutation_test would do for single samples. It doubles the smaller tail, does not say which
p-values a design can attain, and knows neither missing features nor many outcomes of one arrangement.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, islice
from math import comb, prod

import numpy as np
import numpy.typing as npt

from headwise.arrays import FloatArray

Statistic = Callable[[FloatArray], FloatArray]

EXACT_UNITS = 20  # paired units up to which all sign patterns are enumerated
EXACT_ARRANGEMENTS = 2**19  # ways of splitting two samples up to which all are enumerated
CHUNK_VALUES = 2**20  # numbers held at a time: 8 MiB as float64
# Arrangements that tie with the observed one in exact arithmetic differ from it by rounding. The tolerance is
# relative to the size of the statistic, far above rounding and far below any difference of interest.
TIE_TOLERANCE = 1e-10


@dataclass(frozen=True)
class PermutationTest:
    """Result of a two-sided permutation test.

    estimate      observed difference, in the units of the data; None where it is undefined
    p             p-value; None where there is nothing to test
    p_attainable  smallest p-value that this design can give, whatever the data; None where there is nothing
                  to test
    n             units: pairs of a paired test, size of the first sample of a two-sample test
    n_reference   size of the second sample; None for a paired test
    method        the test in words
    reason        why a value is undefined or the test cannot reject; None where all is well
    """

    estimate: float | None
    p: float | None
    p_attainable: float | None
    n: int
    method: str
    n_reference: int | None = None
    reason: str | None = None

    def __str__(self) -> str:
        size = f"n = {self.n}" if self.n_reference is None else f"n = {self.n} against {self.n_reference}"
        remark = f": {self.reason}" if self.reason else ""
        if self.p is None:
            return f"No test ({self.method}, {size}){remark}."
        return (
            f"Difference {self.estimate:.4g}, p = {self.p:.3g} ({self.method}, {size}; "
            f"smallest attainable p = {self.p_attainable:.3g}){remark}."
        )


def sign_flip(differences: npt.ArrayLike, rng: np.random.Generator, resamples: int) -> PermutationTest:
    """Test whether paired differences are symmetric about zero, by flipping their signs.

    differences  (n,) one number per unit; units that are not finite are left out, and the reason says how
                 many
    rng          draws sign patterns where there are more than `EXACT_UNITS` units
    resamples    number of random sign patterns, at least 1

    The statistic is the mean difference.
    """
    values = np.asarray(differences, dtype=np.float64)
    halves = values[:, None] / 2
    (test,) = label_swap(-halves, halves, lambda means: means, rng, resamples, name="sign-flip test")
    return test


def label_swap(
    first: FloatArray,
    second: FloatArray,
    statistic: Statistic,
    rng: np.random.Generator,
    resamples: int,
    name: str = "label-swap test",
    clusters: Sequence[str | int] | None = None,
) -> list[PermutationTest]:
    """Test a statistic of mean features between two paired samples by swapping labels within units.

    first, second  (n, ...) features of the same n units; a feature that is not finite in either is left out
                   of both
    statistic      maps mean features (r, ...) to (r, k): k outcomes of r arrangements
    rng            draws arrangements where there are more than `EXACT_UNITS` units
    resamples      number of random arrangements, at least 1
    clusters       (n,) label of each unit's cluster: the labels of a cluster are swapped together, which is valid
                   also where its units depend on each other. None: every unit is swapped on its own

    Returns one test per outcome, with the estimate `statistic(mean of second) - statistic(mean of first)`.
    For a linear statistic this is the sign-flip test of the paired differences. Swapping all labels negates
    every outcome, so half of the arrangements suffice for two sides.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"paired samples have shapes {first.shape} and {second.shape}: give both the same units")
    if clusters is not None and len(clusters) != len(first):
        raise ValueError(f"{len(clusters)} cluster labels for {len(first)} units: give one label per unit")
    shape = first.shape[1:]
    first, second = first.reshape(len(first), prod(shape)), second.reshape(len(second), prod(shape))
    defined = np.isfinite(first) & np.isfinite(second)
    used = defined.any(axis=1)
    n, left_out = int(used.sum()), int((~used).sum())
    first, second, defined = first[used], second[used], defined[used]

    counts = np.where(defined.any(axis=0), defined.sum(axis=0), np.nan)
    centre = np.where(defined, first + second, 0.0).sum(axis=0) / 2 / counts
    halves = np.where(defined, second - first, 0.0) / 2 / np.where(np.isnan(counts), 1.0, counts)
    if clusters is not None:
        members = np.unique(np.asarray(clusters)[used], return_inverse=True)[1]
        together = np.zeros((len(np.unique(members)), halves.shape[1]))
        np.add.at(together, members, halves)
        halves, n = together, len(together)

    def values_of(means: FloatArray) -> FloatArray:
        return statistic(means.reshape(len(means), *shape))

    def differences_of(signs: FloatArray) -> FloatArray:
        shifts = signs @ halves
        return values_of(centre + shifts) - values_of(centre - shifts)

    total = halves.sum(axis=0, keepdims=True)
    low, high = values_of(centre - total)[0], values_of(centre + total)[0]
    observed = high - low
    if n == 0:
        reason = "no unit has a finite value" if left_out else "there are no units"
        return [PermutationTest(None, None, None, 0, name, reason=reason) for _ in observed]

    exact = n <= EXACT_UNITS
    arrangements = 2 ** (n - 1) if exact else resamples
    rows = max(1, CHUNK_VALUES // max(n, halves.shape[1]))
    signs = _all_signs(n, rows) if exact else _random_signs(n, rows, resamples, rng)
    extreme = _count_extreme(map(differences_of, signs), observed, np.maximum(np.abs(low), np.abs(high)))
    p_values = extreme / arrangements if exact else (extreme + 1) / (resamples + 1)
    p_attainable = 2.0 ** (1 - n) if exact else max(2.0 ** (1 - n), 1 / (resamples + 1))
    how = f"exact over {2**n:,} arrangements" if exact else f"Monte Carlo with {resamples:,} resamples"

    remarks = [f"units without a finite value, left out: {left_out}"] if left_out else []
    if n == 1:
        remarks.append(f"one {'unit' if clusters is None else 'cluster'}: no result can be significant")
    elif not halves.any():
        remarks.append("all paired differences are zero")
    method = f"two-sided {name}{'' if clusters is None else ' of whole clusters'}, {how}"
    return [
        PermutationTest(float(estimate), float(p), p_attainable, n, method, reason="; ".join(remarks) or None)
        if np.isfinite(estimate)
        else PermutationTest(None, None, None, n, method, reason="the statistic is undefined")
        for estimate, p in zip(observed, p_values, strict=True)
    ]


def two_sample(
    first: npt.ArrayLike, second: npt.ArrayLike, rng: np.random.Generator, resamples: int
) -> PermutationTest:
    """Test whether two independent samples have the same distribution, by the difference of their means.

    first, second  (n,) and (m,) one number per unit; units that are not finite are left out, and the reason
                   says how many
    rng            draws splits where there are more than `EXACT_ARRANGEMENTS` of them
    resamples      number of random splits, at least 1

    The estimate is the mean of the first sample minus that of the second.
    """
    samples = [np.asarray(sample, dtype=np.float64) for sample in (first, second)]
    finite = [sample[np.isfinite(sample)] for sample in samples]
    n, m = len(finite[0]), len(finite[1])
    left_out = len(samples[0]) + len(samples[1]) - n - m
    name = "two-sample permutation test"
    if n == 0 or m == 0:
        which = "both samples have" if n == m else "the first sample has" if n == 0 else "the second sample has"
        return PermutationTest(None, None, None, n, name, n_reference=m, reason=f"{which} no unit with a finite value")

    pooled = np.concatenate(finite)
    # Differences are taken about the pooled mean, so that a large common offset costs no digits.
    pooled = pooled - pooled.mean()
    splits = comb(n + m, n)
    exact = splits <= EXACT_ARRANGEMENTS
    rows = max(1, CHUNK_VALUES // (n + m))
    groups = _all_groups(n + m, n, rows) if exact else _random_groups(n + m, n, rows, resamples, rng)

    def differences_of(members: npt.NDArray[np.int64]) -> FloatArray:
        sums = pooled[members].sum(axis=1, keepdims=True)
        return sums / n - (pooled.sum() - sums) / m

    observed = differences_of(np.arange(n)[None])[0]
    extreme = _count_extreme(map(differences_of, groups), observed, np.abs(pooled).max(keepdims=True))[0]
    # Samples of equal size can change places: the mirror image of an extreme split is as extreme.
    smallest = (2 if n == m else 1) / splits
    p = extreme / splits if exact else (extreme + 1) / (resamples + 1)
    how = f"exact over {splits:,} splits" if exact else f"Monte Carlo with {resamples:,} resamples"
    remarks = [f"units without a finite value, left out: {left_out}"] if left_out else []
    if smallest >= 1:
        remarks.append("one unit in each sample: no result can be significant")
    elif np.ptp(pooled) == 0:
        remarks.append("all values are equal")
    return PermutationTest(
        float(finite[0].mean() - finite[1].mean()),
        float(p),
        min(1.0, smallest if exact else max(smallest, 1 / (resamples + 1))),
        n,
        f"two-sided {name}, {how}",
        n_reference=m,
        reason="; ".join(remarks) or None,
    )


def _count_extreme(chunks: Iterable[FloatArray], observed: FloatArray, size: FloatArray) -> FloatArray:
    """How many arrangements lie at least as far from zero as the observed one: (k,) from chunks of (r, k).

    An arrangement whose statistic is undefined counts as extreme: that can only make the test more careful.
    """
    count = np.zeros(len(observed))
    threshold = None
    for chunk in chunks:
        distances = np.abs(chunk)
        if threshold is None:
            largest = np.max(np.where(np.isfinite(distances), distances, 0.0), axis=0)
            threshold = np.abs(observed) - TIE_TOLERANCE * np.maximum(size, largest)
        count += np.sum(~(distances < threshold), axis=0)
    return count


def _all_signs(n: int, rows: int) -> Iterator[FloatArray]:
    """All sign patterns of n units up to a common sign, in chunks; the first pattern is the observed one."""
    for start in range(0, 2 ** (n - 1), rows):
        numbers = np.arange(start, min(start + rows, 2 ** (n - 1)))
        yield np.where((numbers[:, None] >> np.arange(n)) & 1, -1.0, 1.0)


def _random_signs(n: int, rows: int, resamples: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    for start in range(0, resamples, rows):
        drawn = rng.integers(0, 2, size=(min(rows, resamples - start), n), dtype=np.int8)
        yield np.where(drawn, -1.0, 1.0)


def _all_groups(total: int, n: int, rows: int) -> Iterator[npt.NDArray[np.int64]]:
    """All choices of n units out of a total, in chunks of (r, n)."""
    choices = combinations(range(total), n)
    while chunk := list(islice(choices, rows)):
        yield np.fromiter(chain.from_iterable(chunk), dtype=np.int64, count=n * len(chunk)).reshape(-1, n)


def _random_groups(
    total: int, n: int, rows: int, resamples: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, resamples, rows):
        order = np.tile(np.arange(total), (min(rows, resamples - start), 1))
        yield rng.permuted(order, axis=1)[:, :n]
