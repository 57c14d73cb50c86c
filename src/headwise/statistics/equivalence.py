"""Equivalence: is a change small enough to be called none?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headwise.statistics.result import Defined, how, joined
from headwise.statistics.ties import is_constant, largest, rescaled, restored, snapped, tolerance
from headwise.statistics.values import NO_CLUSTER, codes, left_out, numbers


@dataclass(frozen=True)
class EquivalenceTest(Defined):
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
        made = how(self.method, self.n, self.reason)
        if self.p is None:
            return f"No equivalence test {made}"
        return f"Difference {self.estimate:.4g} within ±{self.margin:g}: p = {self.p:.3g} {made}"


def equivalence(
    differences: npt.ArrayLike, margin: float, clusters: Sequence[str | int] | None = None
) -> EquivalenceTest:
    """Two one-sided t tests (TOST, Schuirmann 1987) that a mean difference lies within ±margin.

    differences  (n,) paired differences; those that are not finite are left out, and the reason says how many
    margin       positive, in the units of the differences
    clusters     (n,) label of each unit's cluster: the standard error is then robust to correlation within
                 clusters (Liang & Zeger 1986, with the factor C / (C − 1)) and has C − 1 degrees of freedom
                 for C clusters. None: every unit is a cluster of its own, which is the ordinary t test

    p is the larger of the two one-sided p-values. p < α says the same as: the 1 − 2α interval lies within the margin.
    """
    from scipy.special import stdtr

    if not 0 < margin < np.inf:
        raise ValueError(f"the equivalence margin is {margin}: give a positive number")
    values = numbers(differences, "differences")
    members = np.arange(len(values)) if clusters is None else codes(clusters, len(values), "differences")
    finite, named = np.isfinite(values), members >= 0
    used = finite & named
    remark = joined(left_out(int((~named).sum()), NO_CLUSTER), left_out(int((~finite & named).sum())))
    sample, n = values[used], int(used.sum())
    members = np.unique(members[used], return_inverse=True)[1]
    count = len(np.unique(members))
    over = "" if clusters is None else f" over {count} clusters"
    method = f"two one-sided t tests{over}"
    if n == 0:
        return EquivalenceTest(None, margin, None, n, method, joined(remark, "no difference is finite"))
    (sample, limits), exponent = rescaled(sample, np.array([margin]))
    estimate, limit = snapped(float(sample.mean()), sample), float(limits[0])
    found = restored(estimate, exponent)
    if count < 2:
        why = f"one {'unit' if clusters is None else 'cluster'}: no standard error"
        return EquivalenceTest(found, margin, None, n, method, joined(remark, why))
    if is_constant(sample):
        p = 0.0 if abs(estimate) < limit - tolerance(limit, n) else 1.0
        why = "all differences are equal: no sampling error"
        return EquivalenceTest(found, margin, p, n, method, joined(remark, why))
    residuals = np.bincount(members, weights=sample - estimate, minlength=count)
    error = np.sqrt(count / (count - 1) * np.sum(residuals**2)) / n
    if error <= tolerance(largest(sample), n):
        why = "all clusters have the same mean: no standard error"
        return EquivalenceTest(found, margin, None, n, method, joined(remark, why))
    p = float(stdtr(count - 1, (abs(estimate) - limit) / error))
    return EquivalenceTest(found, margin, p, n, method, remark)
