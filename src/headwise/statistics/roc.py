"""Discrimination between two groups: the area under the ROC curve, with its interval and an exact test."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from headwise.statistics.arrays import FloatArray
from headwise.statistics.clusters import times_drawn
from headwise.statistics.intervals import finite_values
from headwise.statistics.permutation import two_sample
from headwise.statistics.result import Result, joined
from headwise.statistics.ties import merged, tolerance
from headwise.statistics.values import left_out

NAME = "ROC area"


def roc_area(
    positive: npt.ArrayLike,
    negative: npt.ArrayLike,
    rng: np.random.Generator,
    resamples: int,
    level: float,
    method: Literal["delong", "bootstrap"] = "delong",
) -> Result:
    """Chance that a score of the positive group exceeds one of the negative group, ties counting one half.

    positive, negative  (m,) and (n,) scores of independent units; those that are not finite are left out, and the
                        reason says how many
    rng, resamples      for the permutation test where it is not exact, and for the bootstrap
    level               the interval covers 1 − level
    method              of the interval. "delong": DeLong, DeLong & Clarke-Pearson (1988), taken on the logit scale
                        (Pepe 2003, section 5.2), so that it stays within 0…1; "bootstrap": percentiles of resamples
                        drawn within each group

    p is that of the two-sample permutation test of midranks (Wilcoxon's), whose null is that both groups have one
    distribution: area ½. An area of exactly 0 or 1 has no standard error, and no resample differs: there is then no
    interval, and the reason says so.
    """
    from scipy.special import expit, logit, ndtri
    from scipy.stats import rankdata

    (first, one), (second, other) = finite_values(positive, "positive"), finite_values(negative, "negative")
    m, n = len(first), len(second)
    remark = left_out(one + other)
    pooled = merged(np.concatenate([first, second]))
    first, second = pooled[:m], pooled[m:]
    words = (
        "DeLong's interval on the logit scale"
        if method == "delong"
        else f"percentile bootstrap, {resamples:,} resamples"
    )
    if m == 0 or n == 0:
        empty = "both groups have" if m == n else f"the {'positive' if m == 0 else 'negative'} group has"
        reason = joined(remark, f"{empty} no unit with a finite value")
        return Result(NAME, None, None, None, level, None, None, m, words, n, reason)

    wins = (first[:, None] > second) + (first[:, None] == second) / 2
    area = float(wins.mean())
    ranks = rankdata(pooled)
    test = two_sample(ranks[:m], ranks[m:], rng, resamples)
    low = high = None
    if area in (0.0, 1.0):
        why: str | None = "the groups do not overlap: no standard error, so no interval"
    elif method == "bootstrap":
        drawn = _resampled(wins, rng, resamples)
        low, high = (float(end) for end in np.quantile(drawn, [level / 2, 1 - level / 2]))
        why = None
    elif m == 1 or n == 1:
        why = "a group of one unit: no standard error"
    else:
        error = np.sqrt(delong_variance(wins))
        why = "every unit is placed alike: no standard error" if error <= tolerance(1.0, m + n) else None
        if why is None:
            half = ndtri(1 - level / 2) * error / (area * (1 - area))
            low, high = (float(expit(logit(area) + sign * half)) for sign in (-1, 1))
    return Result(
        NAME, area, low, high, level, test.p, test.p_attainable, m, f"{words}; {test.method}", n,
        joined(remark, why, test.reason),
    )  # fmt: skip


def delong_variance(wins: FloatArray) -> float:
    """Variance of the area by DeLong's structural components, from (m, n) wins of positive over negative units.

    Both groups need two units.
    """
    m, n = wins.shape
    return float(wins.mean(axis=1).var(ddof=1) / m + wins.mean(axis=0).var(ddof=1) / n)


def _resampled(wins: FloatArray, rng: np.random.Generator, resamples: int) -> FloatArray:
    """Areas of resamples that are drawn with replacement within each group: (resamples,)."""
    m, n = wins.shape
    rows = times_drawn(m, resamples, rng) / m
    columns = times_drawn(n, resamples, rng) / n
    return np.einsum("rm,mn,rn->r", rows, wins, columns, optimize=True)
