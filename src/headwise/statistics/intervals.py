"""Confidence intervals: bootstrap over clusters, and Student's t where units are few.

scipy.stats.bootstrap resamples units one by one; prompts come in domains, which must be drawn whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from headwise.statistics.permutation import CHUNK_VALUES, FloatArray, Statistic
from headwise.statistics.result import finite_or_none

ROUNDING = 1e-12  # spread below which numbers are equal, relative to their size


@dataclass(frozen=True)
class Interval:
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
        remark = f": {self.reason}" if self.reason else ""
        if self.low is None:
            return f"No interval ({self.method}, n = {self.n}){remark}."
        return (
            f"{self.estimate:.4g}, {100 * (1 - self.level):g} % interval {self.low:.4g} to {self.high:.4g} "
            f"({self.method}, n = {self.n}){remark}."
        )


def bootstrap_intervals(
    features: FloatArray,
    statistic: Statistic,
    rng: np.random.Generator,
    resamples: int,
    level: float,
    clusters: Sequence[str | int] | None = None,
    method: Literal["percentile", "bca"] = "bca",
) -> list[Interval]:
    """Bootstrap intervals of a statistic of mean features, drawing whole clusters of units with replacement.

    features   (n, ...) features of n units; those that are not finite are left out of the mean
    statistic  maps mean features (r, ...) to (r, k): k outcomes of r resamples
    resamples  number of resamples, at least 1
    level      1 − coverage, within 0…1
    clusters   (n,) label of each unit's cluster; None: every unit is a cluster of its own
    method     "percentile", or "bca": corrected for bias and acceleration (Efron 1987), the latter from the
               jackknife over clusters

    Returns one interval per outcome. Clusters are the units of replication: with a dozen of them, intervals
    are somewhat narrower than nominal (Cameron, Gelbach & Miller 2008).
    """
    features = np.asarray(features, dtype=np.float64)
    shape = features.shape[1:]
    flat = features.reshape(len(features), prod(shape))
    labels = list(range(len(flat))) if clusters is None else list(clusters)
    if len(labels) != len(flat):
        raise ValueError(f"{len(labels)} cluster labels for {len(flat)} units: give one label per unit")
    finite = np.isfinite(flat)
    names = {label: position for position, label in enumerate(dict.fromkeys(labels))}
    members = np.array([names[label] for label in labels], dtype=np.intp)
    sums, counts = np.zeros((2, len(names), flat.shape[1]))
    np.add.at(sums, members, np.where(finite, flat, 0.0))
    np.add.at(counts, members, finite)
    used = counts.any(axis=1)
    sums, counts = sums[used], counts[used]
    n = len(sums)

    def outcomes(weights: FloatArray) -> FloatArray:
        """Outcomes (r, k) where cluster c is drawn weights[r, c] times."""
        numbers = weights @ counts
        means = (weights @ sums) / np.where(numbers > 0, numbers, np.nan)
        return statistic(means.reshape(len(means), *shape))

    observed = outcomes(np.ones((1, n)))[0]
    words = f"{'BCa' if method == 'bca' else 'percentile'} bootstrap, {resamples:,} resamples"
    if n < 2:
        reason = "one cluster: nothing to resample" if n else "no unit has a finite value"
        return [Interval(finite_or_none(value), None, None, level, n, words, reason) for value in observed]

    rows = max(1, CHUNK_VALUES // max(n, flat.shape[1]))
    drawn = np.empty((resamples, len(observed)))
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        drawn[start:stop] = outcomes(rng.multinomial(n, np.full(n, 1 / n), size=stop - start).astype(np.float64))
    jackknife = outcomes(1.0 - np.eye(n)) if method == "bca" else np.empty((0, len(observed)))
    return [
        _interval(value, drawn[:, k], jackknife[:, k] if method == "bca" else None, level, n, words)
        for k, value in enumerate(observed)
    ]


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
        tails = _bca_tails(estimate, defined, jackknife, tails)
    low, high = np.quantile(defined, tails)
    return Interval(float(estimate), float(low), float(high), level, n, words, reason)


def _bca_tails(estimate: float, drawn: FloatArray, jackknife: FloatArray, tails: FloatArray) -> FloatArray:
    """The quantiles at which BCa reads the bootstrap distribution (Efron 1987)."""
    from scipy.special import ndtr, ndtri

    below = (np.sum(drawn < estimate) + np.sum(drawn == estimate) / 2) / len(drawn)
    # An estimate outside of all resamples would ask for an infinite correction: at most one resample's worth
    # is made.
    bias = ndtri(np.clip(below, 1 / (len(drawn) + 1), len(drawn) / (len(drawn) + 1)))
    deviations = jackknife[np.isfinite(jackknife)]
    deviations = deviations.mean() - deviations if len(deviations) else np.zeros(1)
    scale = np.sum(deviations**2) ** 1.5
    acceleration = np.sum(deviations**3) / (6 * scale) if scale > 0 else 0.0
    shifted = bias + ndtri(tails)
    return ndtr(bias + shifted / (1 - acceleration * shifted))


def t_interval(values: npt.ArrayLike, level: float) -> Interval:
    """Student's t interval of a mean, for a handful of units, where a bootstrap is far too narrow.

    values  (n,) one number per unit; those that are not finite are left out
    """
    from scipy.special import stdtrit

    sample = finite_values(values)
    n = len(sample)
    if n < 2:
        estimate = float(sample[0]) if n else None
        return Interval(
            estimate, None, None, level, n, "Student's t", "one unit" if n else "no unit has a finite value"
        )
    half = stdtrit(n - 1, 1 - level / 2) * np.sqrt(_squared_error(sample))
    estimate = sample.mean()
    reason = None if half > 0 else "all values are equal"
    return Interval(float(estimate), float(estimate - half), float(estimate + half), level, n, "Student's t", reason)


def welch_interval(first: npt.ArrayLike, second: npt.ArrayLike, level: float) -> Interval:
    """Interval of a difference of means, first minus second, without assuming equal variances (Welch 1947).

    first, second  (n,) and (m,) one number per unit; those that are not finite are left out
    """
    from scipy.special import stdtrit

    samples = finite_values(first), finite_values(second)
    sizes = [len(sample) for sample in samples]
    estimate = float(samples[0].mean() - samples[1].mean()) if min(sizes) else None
    words = "Welch's t"
    if min(sizes) < 2:
        reason = "a sample of one unit" if min(sizes) else "a sample without a finite value"
        return Interval(estimate, None, None, level, sum(sizes), words, reason)
    errors = [_squared_error(sample) for sample in samples]
    if sum(errors) == 0:
        reason = "all values within each sample are equal"
        return Interval(estimate, estimate, estimate, level, sum(sizes), words, reason)
    # Each variance is taken relative to their sum: the squares of small variances would underflow.
    shares = [error / sum(errors) for error in errors]
    freedom = 1 / sum(share**2 / (size - 1) for share, size in zip(shares, sizes, strict=True))
    half = float(stdtrit(freedom, 1 - level / 2) * np.sqrt(sum(errors)))
    assert estimate is not None
    return Interval(estimate, estimate - half, estimate + half, level, sum(sizes), words)


def finite_values(values: npt.ArrayLike) -> FloatArray:
    """The finite numbers among those given, float64."""
    sample = np.asarray(values, dtype=np.float64)
    return sample[np.isfinite(sample)]


def _squared_error(sample: FloatArray) -> float:
    """Variance of the mean; exactly zero where the values are equal but for rounding."""
    return 0.0 if is_constant(sample) else float(sample.var(ddof=1) / len(sample))


def is_constant(sample: FloatArray) -> bool:
    """Whether the numbers of a non-empty sample are equal but for rounding."""
    return bool(np.ptp(sample) <= ROUNDING * np.abs(sample).max())
