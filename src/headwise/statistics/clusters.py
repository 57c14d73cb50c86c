"""Mean features of clusters of units, drawn or left out whole: what bootstrap and jackknife intervals are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from headwise.statistics.arrays import FloatArray
from headwise.statistics.permutation import Statistic
from headwise.statistics.ties import rescaled, tolerance
from headwise.statistics.values import codes, numbers


@dataclass(frozen=True, eq=False)
class ClusterMeans:
    """A statistic of mean features of C clusters: sums and counts (C, f) of finite features, by cluster.

    exponent  sums are of features divided by 2 to this power
    nothing   clusters without any finite feature, left out; in words, `without`
    unnamed   units of no cluster, left out
    """

    sums: FloatArray
    counts: FloatArray
    shape: tuple[int, ...]
    statistic: Statistic
    exponent: int
    nothing: int
    unnamed: int
    without: str

    @classmethod
    def of(cls, features: FloatArray, statistic: Statistic, clusters: Sequence[str | int] | None) -> "ClusterMeans":
        features = numbers(features, "features", None)
        shape = features.shape[1:]
        flat = features.reshape(len(features), prod(shape))
        members = np.arange(len(flat)) if clusters is None else codes(clusters, len(flat), "units")
        named = members >= 0
        flat, members = flat[named], members[named]
        finite = np.isfinite(flat)
        (flat,), exponent = rescaled(np.where(finite, flat, 0.0))
        sums, counts = np.zeros((2, members.max(initial=-1) + 1, flat.shape[1]))
        np.add.at(sums, members, flat)
        np.add.at(counts, members, finite)
        used = counts.any(axis=1)
        what = "units" if clusters is None else "clusters"
        without = f"{what} without a finite value, left out: {{}}"
        nothing, unnamed = int((~used).sum()), int((~named).sum())
        return cls(sums[used], counts[used], shape, statistic, exponent, nothing, unnamed, without)

    @property
    def n(self) -> int:
        return len(self.sums)

    def means(self, weights: FloatArray) -> FloatArray:
        """Mean features (r, f) where cluster c counts weights[r, c] times."""
        numbers = weights @ self.counts
        means = (weights @ self.sums) / np.where(numbers > 0, numbers, np.nan)
        return np.ldexp(means, self.exponent) if self.exponent else means

    def of_means(self, means: FloatArray) -> FloatArray:
        return self.statistic(means.reshape(len(means), *self.shape))

    def outcomes(self, weights: FloatArray) -> FloatArray:
        """Outcomes (r, k) where cluster c counts weights[r, c] times."""
        return self.of_means(self.means(weights))

    def observed(self) -> FloatArray:
        """Outcomes (k,) of all clusters."""
        return self.outcomes(np.ones((1, self.n)))[0]

    def errors(self) -> FloatArray:
        """Jackknife errors (k,) of them: exactly 0 where outcomes differ by rounding alone; NaN for one cluster."""
        n = self.n
        if n < 2:
            return np.full(len(self.observed()), np.nan)
        (errors,) = self.jackknife_errors(np.ones((1, n)))
        sizes = np.abs(self.outcomes(1.0 - np.eye(n))).max(axis=0)
        return np.where(errors <= tolerance(sizes, n), 0.0, errors)

    def jackknife_errors(self, weights: FloatArray) -> FloatArray:
        """Jackknife standard errors (r, k) of samples in which cluster c occurs weights[r, c] times, n in all.

        Leaving out either of two copies of a cluster gives the same value, so each distinct one is computed once. NaN
        where the statistic is undefined without one of the clusters.
        """
        r, n = weights.shape
        without = (weights[:, None, :] - np.eye(n)).clip(min=0)
        values = self.outcomes(without.reshape(r * n, n)).reshape(r, n, -1)
        times = weights[:, :, None]
        values = np.where(times > 0, values, 0.0)
        (values,), exponent = rescaled(values)
        mean = (times * values).sum(axis=1, keepdims=True) / n
        errors = np.sqrt((n - 1) / n * (times * (values - mean) ** 2).sum(axis=1))
        return np.ldexp(errors, exponent) if exponent else errors


def times_drawn(n: int, resamples: int, rng: np.random.Generator) -> FloatArray:
    """How often each of n clusters is drawn in n draws with replacement: (resamples, n). A draw from the multinomial
    distribution gives the same, at five times the time."""
    drawn = rng.integers(0, n, size=(resamples, n))
    drawn += n * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)
