"""Equivalence: is a change small enough to be called none?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headwise.statistics.intervals import ROUNDING, is_constant


@dataclass(frozen=True)
class EquivalenceTest:
    """Result of two one-sided tests.

    estimate  mean difference; None where no difference is finite
    margin    largest difference, to either side, that still counts as none; in the units of the estimate
    p         p-value of "the difference is at least the margin"; None where there is nothing to test
    n         differences
    method    the test in words
    reason    why there is no p-value, or what is special about it; None where all is well
    """

    estimate: float | None
    margin: float
    p: float | None
    n: int
    method: str
    reason: str | None = None

    def __str__(self) -> str:
        remark = f": {self.reason}" if self.reason else ""
        if self.p is None:
            return f"No equivalence test ({self.method}, n = {self.n}){remark}."
        return (
            f"Difference {self.estimate:.4g} within ±{self.margin:g}: p = {self.p:.3g} "
            f"({self.method}, n = {self.n}){remark}."
        )


def equivalence(
    differences: npt.ArrayLike, margin: float, clusters: Sequence[str | int] | None = None
) -> EquivalenceTest:
    """Two one-sided t tests (TOST, Schuirmann 1987) that a mean difference lies within ±margin.

    differences  (n,) paired differences; those that are not finite are left out
    margin       positive, in the units of the differences
    clusters     (n,) label of each unit's cluster: the standard error is then robust to correlation within
                 clusters (Liang & Zeger 1986, with the factor C / (C − 1)) and has C − 1 degrees of freedom
                 for C clusters. None: every unit is a cluster of its own, which is the ordinary t test

    p is the larger of the two one-sided p-values. p < α says the same as: the 1 − 2α interval lies within the margin.
    """
    from scipy.special import stdtr

    if not margin > 0:
        raise ValueError(f"the equivalence margin is {margin}: give a positive number")
    values = np.asarray(differences, dtype=np.float64)
    labels = list(range(len(values))) if clusters is None else list(clusters)
    if len(labels) != len(values):
        raise ValueError(f"{len(labels)} cluster labels for {len(values)} differences: give one label per difference")
    finite = np.isfinite(values)
    sample, n = values[finite], int(finite.sum())
    kept = [label for label, is_finite in zip(labels, finite, strict=True) if is_finite]
    names = {label: position for position, label in enumerate(dict.fromkeys(kept))}
    count = len(names)
    over = "" if clusters is None else f" over {count} clusters"
    method = f"two one-sided t tests{over}"
    estimate = float(sample.mean()) if n else None
    if estimate is None or count < 2:
        what = "unit" if clusters is None else "cluster"
        reason = f"one {what}: no standard error" if n else "no difference is finite"
        return EquivalenceTest(estimate, margin, None, n, method, reason)

    if is_constant(sample):
        p = 0.0 if abs(estimate) < margin else 1.0
        return EquivalenceTest(estimate, margin, p, n, method, "all differences are equal: no sampling error")
    members = np.array([names[label] for label in kept], dtype=np.intp)
    residuals = np.bincount(members, weights=sample - estimate, minlength=count)
    error = np.sqrt(count / (count - 1) * np.sum(residuals**2)) / n
    if error <= ROUNDING * np.abs(sample).max():
        reason = "all clusters have the same mean: no standard error"
        return EquivalenceTest(estimate, margin, None, n, method, reason)
    p = float(stdtr(count - 1, (abs(estimate) - margin) / error))
    return EquivalenceTest(estimate, margin, p, n, method)
