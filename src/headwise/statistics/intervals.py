"""Confidence intervals: bootstrap over clusters, and Student's t where units or clusters are few.

scipy.stats.bootstrap resamples units one by one; prompts come in domains, which must be drawn whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from headwise.statistics.arrays import FloatArray
from headwise.statistics.clusters import ClusterMeans, times_drawn
from headwise.statistics.permutation import CHUNK_VALUES, Statistic
from headwise.statistics.result import Defined, finite_or_none, how, joined
from headwise.statistics.ties import is_constant, largest, rescaled, restored, snapped, tolerance
from headwise.statistics.values import NO_CLUSTER, left_out, numbers, support

BootstrapMethod = Literal["percentile", "bca", "studentised"]
BOOTSTRAP_NAMES = {"percentile": "percentile", "bca": "BCa", "studentised": "studentised"}
FEW_CLUSTERS = 40  # below, resampling clusters is too narrow (Cameron, Gelbach & Miller 2008: 5 to 30 are few)
NOTHING = "no unit has a finite value"


@dataclass(frozen=True)
class Interval(Defined):
    """A two-sided confidence interval.

    estimate   the statistic of the data; None where it is undefined
    low, high  ends of the interval, in the units of the estimate; None where there is no interval
    level      share of wrong intervals that is accepted: the interval covers 1 − level
    n          units, or clusters of units, that vary
    method     how the interval was made, in words
    reason     why there is no interval, or what is special about it; None where all is well
    """

    estimate: float | None
    low: float | None
    high: float | None
    level: float
    n: int
    method: str
    reason: str | None = None

    def __str__(self) -> str:
        made = how(self.method, self.n, self.reason)
        if self.low is None:
            return f"No interval {made}"
        return f"{self.estimate:.4g}, {100 * (1 - self.level):g} % interval {self.low:.4g} to {self.high:.4g} {made}"


def bootstrap_intervals(
    features: FloatArray,
    statistic: Statistic,
    rng: np.random.Generator,
    resamples: int,
    level: float,
    clusters: Sequence[str | int] | None = None,
    method: BootstrapMethod = "bca",
) -> list[Interval]:
    """Bootstrap intervals of a statistic of mean features, drawing whole clusters of units with replacement.

    features   (n, ...) features of n units; those that are not finite are left out of the mean. An outcome rests on the
               clusters that have one of the features that move it; `reason` counts the others, which are not drawn
    statistic  maps mean features (r, ...) to (r, k): k outcomes of r resamples
    resamples  number of resamples, at least 1
    level      1 − coverage, within 0…1
    clusters   (n,) label of each unit's cluster; None: every unit is a cluster of its own
    method     "percentile"; "bca": corrected for bias and acceleration (Efron 1987), the latter from the
               jackknife over clusters; "studentised": quantiles of each resample's deviation in units of its own
               jackknife error (Efron 1982), which costs as many evaluations per resample as there are clusters

    Returns one interval per outcome. Clusters are the units of replication. With a dozen of them or fewer, all three
    are less reliable than `jackknife_intervals`: the first two too narrow (Cameron, Gelbach & Miller 2008), the third
    erratic, because some resamples hold hardly any spread.
    """

    def of_sample(sample: ClusterMeans) -> list[Interval]:
        return _bootstrap(sample, rng, resamples, level, method)

    return _by_outcome(features, statistic, clusters, of_sample)


def _bootstrap(
    sample: ClusterMeans, rng: np.random.Generator, resamples: int, level: float, method: BootstrapMethod
) -> list[Interval]:
    n, observed = sample.n, sample.observed()
    words = f"{BOOTSTRAP_NAMES[method]} bootstrap, {resamples:,} resamples"
    if n < 2:
        reason = "one cluster: nothing to resample" if n else NOTHING
        return [Interval(finite_or_none(value), None, None, level, n, words, reason) for value in observed]

    # A studentised resample needs the statistic once more for every cluster.
    rows = max(1, CHUNK_VALUES // (max(n, sample.sums.shape[1]) * (n if method == "studentised" else 1)))
    drawn, errors = np.empty((resamples, len(observed))), np.empty((resamples, len(observed)))
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        weights = times_drawn(n, stop - start, rng)
        drawn[start:stop] = sample.outcomes(weights)
        if method == "studentised":
            errors[start:stop] = sample.jackknife_errors(weights)
    if method == "studentised":
        (error,) = sample.jackknife_errors(np.ones((1, n)))
        return [
            _studentised(value, drawn[:, k], errors[:, k], error[k], level, n, words)
            for k, value in enumerate(observed)
        ]
    jackknife = sample.outcomes(1.0 - np.eye(n)) if method == "bca" else np.empty((0, len(observed)))
    return [
        _interval(value, drawn[:, k], jackknife[:, k] if method == "bca" else None, level, n, words)
        for k, value in enumerate(observed)
    ]


def cluster_intervals(
    features: FloatArray,
    statistic: Statistic,
    rng: np.random.Generator,
    resamples: int,
    level: float,
    clusters: Sequence[str | int] | None = None,
) -> list[Interval]:
    """Intervals by the BCa bootstrap over clusters; by the jackknife where fewer than `FEW_CLUSTERS` can be used.

    Arguments as for `bootstrap_intervals`. With 6 clusters, BCa intervals of nominal 95 % cover 82 to 88 %
    (docs/statistics.md).
    """

    def of_sample(sample: ClusterMeans) -> list[Interval]:
        few = sample.n < FEW_CLUSTERS
        return _jackknifed(sample, level) if few else _bootstrap(sample, rng, resamples, level, "bca")

    return _by_outcome(features, statistic, clusters, of_sample)


def jackknife_intervals(
    features: FloatArray, statistic: Statistic, level: float, clusters: Sequence[str | int] | None = None
) -> list[Interval]:
    """Student's t intervals of a statistic of mean features, with the jackknife error over C clusters of units.

    Arguments as for `bootstrap_intervals`. The interval is the estimate ± t(C − 1) jackknife errors. It suits few
    clusters, where resampling is far too narrow (MacKinnon, Nielsen & Webb 2023, whose CV3 this is for a mean), and a
    statistic that is smooth in the means.
    """
    return _by_outcome(features, statistic, clusters, lambda sample: _jackknifed(sample, level))


def _jackknifed(sample: ClusterMeans, level: float) -> list[Interval]:
    from scipy.special import stdtrit

    n, observed, errors = sample.n, sample.observed(), sample.errors()
    words = "Student's t with the jackknife error"
    if n < 2:
        reason = "one cluster: no standard error" if n else NOTHING
        return [Interval(finite_or_none(value), None, None, level, n, words, reason) for value in observed]
    factor = float(stdtrit(n - 1, 1 - level / 2))
    intervals = []
    for estimate, error in zip(observed, errors, strict=True):
        value = finite_or_none(estimate)
        if value is None or not np.isfinite(error):
            undefined = "the statistic is undefined" + ("" if value is None else " without one of the clusters")
            intervals.append(Interval(value, None, None, level, n, words, undefined))
            continue
        half = factor * float(error)
        same = None if half else "the statistic is the same without any one cluster"
        intervals.append(Interval(value, value - half, value + half, level, n, words, same))
    return intervals


def jackknife(
    features: FloatArray, statistic: Statistic, clusters: Sequence[str | int] | None = None
) -> tuple[FloatArray, FloatArray, int]:
    """Outcomes (k,) of a statistic of mean features, their jackknife errors (k,), and the number C of clusters.

    Arguments as for `bootstrap_intervals`, but that all outcomes rest on all clusters. An error is exactly 0 where the
    outcomes differ by rounding alone, and NaN where one is undefined without one of the clusters or C < 2.
    """
    sample = ClusterMeans.of(features, statistic, clusters)
    return sample.observed(), sample.errors(), sample.n


def _by_outcome(
    features: FloatArray,
    statistic: Statistic,
    clusters: Sequence[str | int] | None,
    intervals: Callable[[ClusterMeans], list[Interval]],
) -> list[Interval]:
    """An interval per outcome, from the clusters that it rests on."""
    whole = ClusterMeans.of(features, statistic, clusters)
    found: dict[int, Interval] = {}
    (means,) = whole.means(np.ones((1, whole.n)))
    for outcomes, used in support(whole.counts > 0, means, whole.of_means):
        part = replace(whole, sums=whole.sums[used], counts=whole.counts[used], nothing=whole.nothing + (~used).sum())
        own = intervals(part)
        remarks = (left_out(part.unnamed, NO_CLUSTER), left_out(part.nothing, whole.without)) if part.n else ()
        for place in outcomes:
            found[int(place)] = replace(own[place], reason=joined(*remarks, own[place].reason))
    return [found[place] for place in sorted(found)]


def _studentised(
    estimate: float, drawn: FloatArray, errors: FloatArray, error: float, level: float, n: int, words: str
) -> Interval:
    if not np.isfinite(estimate) or not np.isfinite(error):
        why = "the statistic is undefined" + (" without one of the clusters" if np.isfinite(estimate) else "")
        return Interval(finite_or_none(estimate), None, None, level, n, words, why)
    usable = np.isfinite(drawn) & (errors > tolerance(max(float(error), abs(estimate)), n))
    if not usable.any():
        why = "all resamples give the same value"
        return Interval(float(estimate), float(estimate), float(estimate), level, n, words, why)
    deviations = (drawn[usable] - estimate) / errors[usable]
    low, high = estimate - error * np.quantile(deviations, [1 - level / 2, level / 2])
    left_out = int((~usable).sum())
    reason = f"resamples without spread, left out: {left_out:,}" if left_out else None
    return Interval(float(estimate), float(low), float(high), level, n, words, reason)


def _interval(
    estimate: float, drawn: FloatArray, jackknife: FloatArray | None, level: float, n: int, words: str
) -> Interval:
    if not np.isfinite(estimate):
        return Interval(None, None, None, level, n, words, "the statistic is undefined")
    defined = drawn[np.isfinite(drawn)]
    if len(defined) == 0:
        return Interval(float(estimate), None, None, level, n, words, "the statistic is undefined in every resample")
    reason = None
    if len(defined) < len(drawn):
        reason = f"the statistic is undefined in {len(drawn) - len(defined):,} resamples"
    if is_constant(defined):
        reason = "all resamples give the same value"
        return Interval(float(estimate), float(estimate), float(estimate), level, n, words, reason)
    tails = np.array([level / 2, 1 - level / 2])
    if jackknife is not None:
        tails = _bca_tails(estimate, defined, jackknife, tails, n)
    low, high = np.quantile(defined, tails)
    return Interval(float(estimate), float(low), float(high), level, n, words, reason)


def _bca_tails(estimate: float, drawn: FloatArray, jackknife: FloatArray, tails: FloatArray, n: int) -> FloatArray:
    """The quantiles at which BCa reads the bootstrap distribution (Efron 1987)."""
    from scipy.special import ndtr, ndtri

    equal = tolerance(max(abs(estimate), largest(drawn)), n)
    below = (np.sum(drawn < estimate - equal) + np.sum(drawn <= estimate + equal)) / 2 / len(drawn)
    # An estimate outside of all resamples would ask for an infinite correction: at most one resample's worth
    # is made.
    bias = ndtri(np.clip(below, 1 / (len(drawn) + 1), len(drawn) / (len(drawn) + 1)))
    (values,), _ = rescaled(jackknife[np.isfinite(jackknife)])
    acceleration = 0.0
    if len(values) and not is_constant(values):
        deviations = values.mean() - values
        acceleration = np.sum(deviations**3) / (6 * np.sum(deviations**2) ** 1.5)
    shifted = bias + ndtri(tails)
    return ndtr(bias + shifted / (1 - acceleration * shifted))


def t_interval(values: npt.ArrayLike, level: float) -> Interval:
    """Student's t interval of a mean, for a handful of units, where a bootstrap is far too narrow.

    values  (n,) one number per unit; those that are not finite are left out
    """
    from scipy.special import stdtrit

    sample, others = finite_values(values, "values")
    n, words = len(sample), "Student's t"
    unusable = left_out(others) if n else None
    if n < 2:
        reason = joined(unusable, "one unit" if n else NOTHING)
        return Interval(float(sample[0]) if n else None, None, None, level, n, words, reason)
    (sample,), exponent = rescaled(sample)
    half = stdtrit(n - 1, 1 - level / 2) * np.sqrt(_squared_error(sample))
    estimate = snapped(float(sample.mean()), sample)
    value, low, high = (restored(end, exponent) for end in (estimate, estimate - half, estimate + half))
    same = None if half > 0 else "all values are equal"
    return Interval(value, low, high, level, n, words, joined(unusable, same))


def welch_interval(first: npt.ArrayLike, second: npt.ArrayLike, level: float) -> Interval:
    """Interval of a difference of means, first minus second, without assuming equal variances (Welch 1947).

    first, second  (n,) and (m,) one number per unit; those that are not finite are left out
    """
    (one, left), (other, further) = finite_values(first, "first"), finite_values(second, "second")
    unusable = left_out(left + further) if len(one) and len(other) else None
    samples, exponent = rescaled(one, other)
    sizes = [len(sample) for sample in samples]
    estimate = None
    if min(sizes):
        estimate = snapped(float(samples[0].mean() - samples[1].mean()), *samples)
    words = "Welch's t"
    if estimate is None or min(sizes) < 2:
        reason = joined(unusable, "a sample of one unit" if min(sizes) else "a sample without a finite value")
        value = None if estimate is None else restored(estimate, exponent)
        return Interval(value, None, None, level, sum(sizes), words, reason)
    errors = [_squared_error(sample) for sample in samples]
    found = _welch(estimate, errors, sizes, level, words, exponent)
    return replace(found, reason=joined(unusable, found.reason))


def welch_from_errors(
    estimate: float, errors: Sequence[float], sizes: Sequence[int], level: float, words: str
) -> Interval:
    """Interval of a difference from the standard errors of two independent estimates of 2 or more units each.

    Degrees of freedom are those of Welch (1947). Without an interval where an error is not finite.
    """
    if not np.isfinite(errors).all():
        return Interval(finite_or_none(estimate), None, None, level, sum(sizes), words, "an error is not finite")
    (scaled,), exponent = rescaled(np.array([estimate, *errors]))
    squares = [float(error) ** 2 for error in scaled[1:]]
    return _welch(float(scaled[0]), squares, sizes, level, words, exponent)


def _welch(
    estimate: float, squared_errors: Sequence[float], sizes: Sequence[int], level: float, words: str, exponent: int
) -> Interval:
    """The interval of an estimate that is divided by 2 to the power of `exponent`, as its squared errors are twice."""
    from scipy.special import stdtrit

    total = sum(squared_errors)
    if total == 0:
        value, reason = restored(estimate, exponent), "all values within each sample are equal"
        return Interval(value, value, value, level, sum(sizes), words, reason)
    # Each variance is taken relative to their sum: the squares of small variances would underflow.
    shares = [error / total for error in squared_errors]
    freedom = 1 / sum(share**2 / (size - 1) for share, size in zip(shares, sizes, strict=True))
    half = float(stdtrit(freedom, 1 - level / 2) * np.sqrt(total))
    value, low, high = (restored(end, exponent) for end in (estimate, estimate - half, estimate + half))
    return Interval(value, low, high, level, sum(sizes), words)


def finite_values(values: npt.ArrayLike, what: str) -> tuple[FloatArray, int]:
    """The finite numbers among those given, float64, and how many are not."""
    sample = numbers(values, what)
    finite = np.isfinite(sample)
    return sample[finite], int((~finite).sum())


def _squared_error(sample: FloatArray) -> float:
    """Variance of the mean; exactly zero where the values are equal but for rounding."""
    return 0.0 if is_constant(sample) else float(sample.var(ddof=1) / len(sample))
