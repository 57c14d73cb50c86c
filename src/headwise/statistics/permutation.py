"""Permutation tests, exact where that is feasible, each with the smallest p-value that its design can attain.

All tests are two-sided. An exact p-value is the share of arrangements whose statistic is at least as far from
zero as the observed one. A Monte Carlo p-value is (b + 1) / (m + 1) for b of m random arrangements (Phipson &
Smyth 2010): it is never zero, and the test keeps its level.

scipy.stats.permutation_test would do for single samples. It doubles the smaller tail, does not say which
p-values a design can attain, and knows neither missing features nor many outcomes of one arrangement.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, islice
from math import comb, prod

import numpy as np
import numpy.typing as npt

from headwise.statistics.arrays import FloatArray
from headwise.statistics.attainable import EXACT_ARRANGEMENTS, EXACT_UNITS, of_sign_flips, of_splits
from headwise.statistics.result import Defined, how, joined
from headwise.statistics.ties import difference, is_constant, largest, rescaled, restored, snapped, tolerance
from headwise.statistics.values import NO_CLUSTER, codes, left_out, numbers, support

Statistic = Callable[[FloatArray], FloatArray]

CHUNK_VALUES = 2**20  # numbers held at a time: 8 MiB as float64


@dataclass(frozen=True)
class PermutationTest(Defined):
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
        if self.p is None:
            return f"No test {how(self.method, self.n, self.reason, self.n_reference)}"
        smallest = f"; smallest attainable p = {self.p_attainable:.3g}"
        made = how(self.method, self.n, self.reason, self.n_reference, smallest)
        return f"Difference {self.estimate:.4g}, p = {self.p:.3g} {made}"


def attainable_level(smallest: float, level: float) -> float:
    """The largest level, at most `level`, at which an exact test whose p-values are multiples of `smallest` rejects."""
    multiples = level / smallest
    return float(np.floor(multiples + tolerance(multiples)) * smallest)


def sign_flip(differences: npt.ArrayLike, rng: np.random.Generator, resamples: int) -> PermutationTest:
    """Test whether paired differences are symmetric about zero, by flipping their signs.

    differences  (n,) one number per unit; units that are not finite are left out, and the reason says how
                 many
    rng          draws sign patterns where there are more than `EXACT_UNITS` units
    resamples    number of random sign patterns, at least 1

    The statistic is the mean difference.
    """
    values = numbers(differences, "differences")
    (finite,), exponent = rescaled(values[np.isfinite(values)])
    halves = np.full((len(values), 1), np.nan)
    halves[np.isfinite(values), 0] = finite / 2
    (test,) = label_swap(-halves, halves, lambda means: means, rng, resamples, name="sign-flip test")
    if test.estimate is None:
        return test
    return replace(test, estimate=restored(snapped(test.estimate, finite), exponent))


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
    first, second = numbers(first, "first", None), numbers(second, "second", None)
    if first.shape != second.shape:
        raise ValueError(f"paired samples have shapes {first.shape} and {second.shape}: give both the same units")
    members = None if clusters is None else codes(clusters, len(first), "units", in_order=True)
    shape = first.shape[1:]
    first, second = first.reshape(len(first), prod(shape)), second.reshape(len(second), prod(shape))
    defined = np.isfinite(first) & np.isfinite(second)
    nameless = np.zeros(len(first), dtype=bool) if members is None else members < 0
    defined[nameless] = False
    (first, second), exponent = rescaled(np.where(defined, first, 0.0), np.where(defined, second, 0.0))

    def values_of(means: FloatArray) -> FloatArray:
        means = np.ldexp(means, exponent) if exponent else means
        return statistic(means.reshape(len(means), *shape))

    counts = np.maximum(1, defined.sum(axis=0))
    middle = np.where(defined.any(axis=0), (first / counts + second / counts).sum(axis=0) / 2, np.nan)
    tests: dict[int, PermutationTest] = {}
    for outcomes, units in support(defined, middle, values_of):
        swapped = _Swap(first[units], second[units], defined[units], None if members is None else members[units])
        found = swapped.tests(values_of, rng, resamples, name)
        others = left_out(int(nameless.sum()), NO_CLUSTER), left_out(int((~units & ~nameless).sum()))
        nothing = "no unit has a finite value" if len(first) else "there are no units"
        remarks = others if units.any() else (nothing,)
        for place in outcomes:
            tests[int(place)] = replace(found[place], reason=joined(*remarks, found[place].reason))
    return [tests[place] for place in sorted(tests)]


@dataclass(frozen=True, eq=False)
class _Swap:
    """Paired samples of n units with features that count where they are defined, each (n, f), and cluster numbers."""

    first: FloatArray
    second: FloatArray
    defined: npt.NDArray[np.bool_]
    members: npt.NDArray[np.intp] | None

    def tests(self, values_of: Statistic, rng: np.random.Generator, resamples: int, name: str) -> list[PermutationTest]:
        """One test per outcome."""
        first, second, defined, n = self.first, self.second, self.defined, len(self.first)
        counts = np.where(defined.any(axis=0), defined.sum(axis=0), np.nan)
        centre = np.where(defined, first + second, 0.0).sum(axis=0) / 2 / counts
        halves = np.where(defined, second - first, 0.0) / 2 / np.where(np.isnan(counts), 1.0, counts)
        equal = bool(np.all(np.abs(second - first) <= tolerance(np.maximum(np.abs(first), np.abs(second)))))
        if self.members is not None:
            members = np.unique(self.members, return_inverse=True)[1]
            together = np.zeros((len(np.unique(members)), halves.shape[1]))
            np.add.at(together, members, halves)
            halves, n = together, len(together)

        def differences_of(signs: FloatArray) -> FloatArray:
            shifts = signs @ halves
            return values_of(centre + shifts) - values_of(centre - shifts)

        total = halves.sum(axis=0, keepdims=True)
        low, high = values_of(centre - total)[0], values_of(centre + total)[0]
        observed = difference(high, low)
        if n == 0:
            return [PermutationTest(None, None, None, 0, name) for _ in observed]

        exact = n <= EXACT_UNITS
        arrangements = 2 ** (n - 1) if exact else resamples
        rows = max(1, CHUNK_VALUES // max(n, halves.shape[1]))
        signs = _all_signs(n, rows) if exact else _random_signs(n, rows, resamples, rng)
        size = np.maximum(np.abs(low), np.abs(high))
        extreme = _count_extreme(map(differences_of, signs), observed, size, len(self.first))
        p_values = extreme / arrangements if exact else (extreme + 1) / (resamples + 1)
        p_attainable = of_sign_flips(n, resamples)
        how = f"exact over {2**n:,} arrangements" if exact else f"Monte Carlo with {resamples:,} resamples"
        remark = None
        if n == 1:
            remark = f"one {'unit' if self.members is None else 'cluster'}: no result can be significant"
        elif equal:
            remark = "all paired differences are zero"
        method = f"two-sided {name}{'' if self.members is None else ' of whole clusters'}, {how}"
        return [
            PermutationTest(float(estimate), float(p), p_attainable, n, method, reason=remark)
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
    samples = numbers(first, "first"), numbers(second, "second")
    finite, exponent = rescaled(*(sample[np.isfinite(sample)] for sample in samples))
    n, m = len(finite[0]), len(finite[1])
    unusable = left_out(len(samples[0]) + len(samples[1]) - n - m)
    name = "two-sample permutation test"
    if n == 0 or m == 0:
        which = "both samples have" if n == m else "the first sample has" if n == 0 else "the second sample has"
        return PermutationTest(None, None, None, n, name, n_reference=m, reason=f"{which} no unit with a finite value")

    pooled = np.concatenate(finite)
    size, equal = largest(pooled), is_constant(pooled)
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
    extreme = _count_extreme(map(differences_of, groups), observed, np.array([size]), n + m)[0]
    p = extreme / splits if exact else (extreme + 1) / (resamples + 1)
    how = f"exact over {splits:,} splits" if exact else f"Monte Carlo with {resamples:,} resamples"
    remark = None
    if n == m == 1:
        remark = "one unit in each sample: no result can be significant"
    elif equal:
        remark = "all values are equal"
    return PermutationTest(
        restored(snapped(float(finite[0].mean() - finite[1].mean()), *finite), exponent),
        float(p),
        of_splits(n, m, resamples),
        n,
        f"two-sided {name}, {how}",
        n_reference=m,
        reason=joined(unusable, remark),
    )


def _count_extreme(chunks: Iterable[FloatArray], observed: FloatArray, size: FloatArray, n: int) -> FloatArray:
    """How many arrangements lie at least as far from zero as the observed one: (k,) from chunks of (r, k).

    size  (k,) of the numbers whose difference the statistic is, n of which are in it

    An arrangement whose statistic is undefined counts as extreme: that can only make the test more careful.
    """
    count = np.zeros(len(observed))
    threshold = None
    for chunk in chunks:
        distances = np.abs(chunk)
        if threshold is None:
            farthest = np.max(np.where(np.isfinite(distances), distances, 0.0), axis=0)
            threshold = np.abs(observed) - tolerance(np.maximum(size, farthest), n)
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
