"""Which factor explains how much of an outcome: Shapley shares of R², their uncertainty, and whether an order holds.

R² never falls when a factor is added, so that a factor without any effect gets a share as well. Each share therefore
stands beside the one that it has on average when the outcome is shuffled.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from headwise.statistics.arrays import FloatArray
from headwise.statistics.clusters import times_drawn
from headwise.statistics.intervals import FEW_CLUSTERS
from headwise.statistics.result import Result, joined
from headwise.statistics.shapley import columns_of, freedman_lane, r_squared, shapley_shares, subsets_of
from headwise.statistics.ties import OF_ONE, is_constant, merged, rescaled
from headwise.statistics.values import NO_CLUSTER, NO_NUMBER, codes, is_missing, left_out, numbers

MOST_FACTORS = 10  # 2^10 regressions per resample


@dataclass(frozen=True)
class Share(Result):
    """A factor's share of explained variance: estimate and interval within 0…1, as parts of the outcome's variance.

    by_chance  mean share when the outcome is shuffled over units; None where it is undefined
    """

    by_chance: float | None = None


@dataclass(frozen=True)
class Decomposition:
    """How the explained variance of an outcome divides among factors.

    explained   R² of all factors together
    shares      by factor, in the order given; they sum to `explained`
    order       factors by falling share
    order_kept  share of resamples with that very order; None where there are no resamples
    differences share of each factor in `order` minus that of the next, with an interval; the intervals cover 1 − level
                for all of them together (Bonferroni)
    """

    explained: Result
    shares: Mapping[str, Share]
    order: tuple[str, ...]
    order_kept: float | None
    differences: tuple[Result, ...]

    def distinguishable(self) -> bool:
        """Whether every factor's share exceeds the next one's by more than its interval."""
        return bool(self.differences) and all(each.low is not None and each.low > OF_ONE for each in self.differences)

    def __str__(self) -> str:
        if self.explained.estimate is None:
            return str(self.explained)
        shares = ", ".join(f"{name} {self.shares[name].estimate:.3g}" for name in self.order)
        if self.order_kept is None:
            return f"Shares of explained variance: {shares}."
        holds = "is" if self.distinguishable() else "is not"
        return (
            f"Shares of explained variance: {shares}; the order {holds} distinguishable from chance and holds in "
            f"{100 * self.order_kept:.3g} % of resamples."
        )


def decompose(
    outcome: npt.ArrayLike,
    factors: Mapping[str, Sequence[str | float]],
    rng: np.random.Generator,
    resamples: int,
    level: float,
    clusters: Sequence[str | int] | None = None,
) -> Decomposition:
    """Divide the R² of a linear model among its factors by Shapley's rule (Lindeman, Merenda & Gold 1980).

    outcome    (n,) one number per unit; units without a finite one are left out, and the reason says how many
    factors    (n,) levels by factor: text for a category (as dummies), numbers for a straight line; units without one
               are left out as well
    rng        for resamples of clusters and shuffles of the outcome
    resamples  of each, at least 1
    level      intervals cover 1 − level
    clusters   (n,) label of each unit's cluster, drawn whole; None: every unit is a cluster of its own

    A share is the mean, over all orders of adding the factors, of what R² gains when the factor is added. Intervals
    are Student's t with the jackknife error over clusters, cut at what is possible, and percentiles over resamples from
    `FEW_CLUSTERS` clusters on: with 12 of them, percentiles told an order apart in 10 % of simulations where there was
    none. They are descriptive, since R² of few units is too high. p of a share: shuffles
    of the residuals without the factor (Freedman & Lane 1983) whose R² gain is as large; of `explained`: shuffles of
    the outcome. The order of factors is distinguishable where all differences of neighbours exclude 0.
    """
    if not factors:
        raise ValueError("no factors: name at least one")
    if len(factors) > MOST_FACTORS:
        raise ValueError(f"{len(factors)} factors need 2^{len(factors)} regressions: give at most {MOST_FACTORS}")
    values = numbers(outcome, "outcome")
    for name, levels in factors.items():
        if len(levels) != len(values):
            raise ValueError(f"factor '{name}' has {len(levels)} levels for {len(values)} units: give one each")
    members = np.arange(len(values)) if clusters is None else codes(clusters, len(values), "units", in_order=True)
    sound = {NO_NUMBER: np.isfinite(values)}
    for name, levels in factors.items():
        sound[f"units without a level of '{name}', left out: {{}}"] = np.array(
            [not is_missing(each) for each in levels], dtype=bool
        )
    sound[NO_CLUSTER] = members >= 0
    used = np.ones(len(values), dtype=bool)
    remark: str | None = None
    for what, known in sound.items():
        remark = joined(remark, left_out(int((used & ~known).sum()), what))
        used &= known
    (values,), _ = rescaled(values[used])
    blocks = {
        name: columns_of([each for each, is_used in zip(levels, used, strict=True) if is_used], f"factor '{name}'")
        for name, levels in factors.items()
    }
    labels = np.unique(members[used], return_inverse=True)[1]
    n, count = len(values), len(np.unique(labels))
    unit = "units" if clusters is None else f"{count} clusters of units"
    few = count < FEW_CLUSTERS
    how = "Student's t with the jackknife error" if few else f"percentile bootstrap, {resamples:,} resamples,"
    words = f"Shapley shares of R², {how} over {unit}"
    why = "no unit has a finite value" if n == 0 else "all values are equal" if is_constant(values) else None
    if why is not None:
        return _undefined(list(blocks), level, n, words, joined(remark, why))

    names, subsets = list(blocks), subsets_of(len(blocks))
    ones = np.ones((1, n))
    observed = r_squared(values[None], ones, blocks, subsets)
    shuffled = r_squared(rng.permuted(np.tile(values, (resamples, 1)), axis=1), ones, blocks, subsets)
    weights = times_drawn(count, resamples, rng)[:, labels]
    drawn = shapley_shares(r_squared(values[None], weights, blocks, subsets), len(names))
    usable = np.isfinite(drawn).all(axis=1) & (count > 1)
    if count < 2:
        remark = joined(remark, "one cluster: nothing to leave out")
    elif not usable.all():
        remark = joined(remark, f"resamples without variance, left out: {int((~usable).sum()):,}")
    drawn = drawn[usable]

    left = np.empty((0, len(names)))
    if count > 1:
        left = shapley_shares(r_squared(values[None], (1.0 - np.eye(count))[:, labels], blocks, subsets), len(names))

    def result(
        name: str,
        estimate: float,
        of: Callable[[FloatArray], FloatArray],
        accepted: float,
        p: float | None = None,
        least: float = 0.0,
    ) -> Result:
        """`of` maps shares (r, factors) to (r,), which lie within `least`…1."""
        ends = _jackknifed(float(estimate), of(left), accepted) if few else _percentiles(of(drawn), accepted)
        return Result(
            name=name,
            estimate=float(estimate),
            low=None if ends is None else max(least, ends[0]),
            high=None if ends is None else min(1.0, ends[1]),
            level=accepted,
            p=p,
            p_attainable=None if p is None else 1 / (resamples + 1),
            n=n,
            method=words,
            reason=remark,
        )

    as_large = np.sum(shuffled[:, -1] >= observed[0, -1] - OF_ONE)
    p_explained = float((as_large + 1) / (resamples + 1))
    explained = result("Explained variance", observed[0, -1], lambda shares: shares.sum(axis=1), level, p_explained)
    (found,) = shapley_shares(observed, len(names))
    by_chance = shapley_shares(shuffled, len(names)).mean(axis=0)
    shares = {}
    for position, name in enumerate(names):
        p = freedman_lane(values, blocks, name, rng, resamples)
        own = result(f"Share of {name}", found[position], itemgetter((slice(None), position)), level, p)
        constant = "one level only" if blocks[name].shape[1] == 0 else None
        share = {**vars(own), "reason": joined(remark, constant), "by_chance": float(by_chance[position])}
        shares[name] = Share(**share)
    ranked = merged(1 - found)  # shares that differ by rounding stay in the order given
    order = sorted(range(len(names)), key=lambda position: ranked[position])
    together = level / max(1, len(order) - 1)
    differences = tuple(
        result(
            f"Share of {names[one]} minus that of {names[other]}",
            found[one] - found[other],
            partial(_difference, one, other),
            together,
            least=-1.0,
        )
        for one, other in pairwise(order)
    )
    kept = np.all(np.diff(drawn[:, order], axis=1) < -OF_ONE, axis=1)
    order_kept = float(kept.mean()) if len(drawn) and len(order) > 1 else None
    return Decomposition(explained, shares, tuple(names[position] for position in order), order_kept, differences)


def _difference(one: int, other: int, shares: FloatArray) -> FloatArray:
    return shares[:, one] - shares[:, other]


def _percentiles(sample: FloatArray, level: float) -> tuple[float, float] | None:
    if not len(sample):
        return None
    low, high = np.quantile(sample, [level / 2, 1 - level / 2])
    return float(low), float(high)


def _jackknifed(estimate: float, left: FloatArray, level: float) -> tuple[float, float] | None:
    """Student's interval from the values without each cluster, (clusters,); none where one of them is undefined."""
    from scipy.special import stdtrit

    count = len(left)
    if count < 2 or not np.isfinite(left).all():
        return None
    error = np.sqrt((count - 1) / count * np.sum((left - left.mean()) ** 2))
    half = float(stdtrit(count - 1, 1 - level / 2) * error)
    return estimate - half, estimate + half


def _undefined(names: Sequence[str], level: float, n: int, words: str, reason: str | None) -> Decomposition:
    """A decomposition of an outcome that does not vary."""

    def nothing(name: str) -> dict[str, Any]:
        empty = dict.fromkeys(("estimate", "low", "high", "p", "p_attainable"))
        return {"name": name, **empty, "level": level, "n": n, "method": words, "reason": reason}

    shares = {name: Share(**nothing(f"Share of {name}")) for name in names}
    return Decomposition(Result(**nothing("Explained variance")), shares, tuple(names), None, ())
