"""Times until something happens, when for some units it has not happened yet: Kaplan–Meier and restricted means.

A unit that is followed to the end without an event is censored: its time is known to be longer, not infinite.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headwise.statistics.arrays import FloatArray
from headwise.statistics.permutation import two_sample
from headwise.statistics.result import Result, how, joined
from headwise.statistics.ties import merged, rescaled, restored, tolerance
from headwise.statistics.values import answers, left_out, numbers

RESTRICTED_MEAN = "Restricted mean time"


@dataclass(frozen=True, eq=False)
class SurvivalCurve:
    """Kaplan–Meier estimate of the share of units that are still without the event.

    times      (k,) times at which events happened, increasing
    survival   (k,) share without the event just after each time, within 0…1
    low, high  (k,) ends of its pointwise interval, within 0…1; NaN where there is no standard error
    at_risk    (k,) units that were followed and without event just before each time
    events     (k,) events at each time
    level      the interval covers 1 − level
    n          units
    followed   longest time that any unit was followed; NaN without units
    method     in words
    reason     what is special about the curve; None where all is well
    """

    times: FloatArray
    survival: FloatArray
    low: FloatArray
    high: FloatArray
    at_risk: npt.NDArray[np.int64]
    events: npt.NDArray[np.int64]
    level: float
    n: int
    followed: float
    method: str
    reason: str | None = None

    def __str__(self) -> str:
        happened = int(self.events.sum())
        end = f"; {100 * self.survival[-1]:.3g} % remain after time {self.times[-1]:g}" if happened else ""
        return f"{happened} of {self.n} units have the event{end} {how(self.method, self.n, self.reason)}"


def kaplan_meier(times: npt.ArrayLike, happened: npt.ArrayLike, level: float) -> SurvivalCurve:
    """The Kaplan–Meier (1958) curve with pointwise log-log intervals (Kalbfleisch & Prentice 1980).

    times     (n,) time of the event, or until which the unit was followed without one; not negative. Times that differ
              by rounding alone are one time
    happened  (n,) whether the event happened at that time, as truth values or 0 and 1; False where the unit is censored

    level     the intervals cover 1 − level

    Units whose time is not finite, or of which it is not known whether it happened, are left out, and the reason says
    how many.
    """
    from scipy.special import ndtri
    from statsmodels.duration.survfunc import SurvfuncRight

    kept, events, remark = _units(times, happened)
    method = "Kaplan–Meier, log-log intervals"
    kept = merged(kept)
    if not events.any():
        reason = joined(remark, "no event happened" if len(kept) else "there are no units")
        nothing, none = np.empty(0), np.empty(0, dtype=np.int64)
        followed = float(kept.max()) if len(kept) else np.nan
        return SurvivalCurve(nothing, nothing, nothing, nothing, none, none, level, len(kept), followed, method, reason)
    curve = SurvfuncRight(kept, events)
    survival = np.asarray(curve.surv_prob, dtype=np.float64)
    # At a survival of 0 (nobody left) or 1 there is no standard error on the log-log scale.
    inner = (survival > 0) & (survival < 1)
    low, high = np.full((2, len(survival)), np.nan)
    deviation = ndtri(1 - level / 2) * curve.surv_prob_se[inner] / np.abs(survival[inner] * np.log(survival[inner]))
    low[inner], high[inner] = survival[inner] ** np.exp(deviation), survival[inner] ** np.exp(-deviation)
    return SurvivalCurve(
        np.asarray(curve.surv_times, dtype=np.float64),
        survival,
        low,
        high,
        np.asarray(curve.n_risk, dtype=np.int64),
        np.asarray(curve.n_events, dtype=np.int64),
        level,
        len(kept),
        float(kept.max()),
        method,
        remark,
    )


def restricted_mean(times: npt.ArrayLike, happened: npt.ArrayLike, horizon: float, level: float) -> Result:
    """Mean time without the event up to a horizon: the area under the Kaplan–Meier curve (Irwin 1949).

    times, happened  (n,) as for `kaplan_meier`
    horizon          positive, in the units of time; how long units were meant to be followed
    level            the interval covers 1 − level

    The interval is the estimate ± t(events − 1) standard errors, within 0…horizon: Greenwood's error with the factor
    events / (events − 1) (Klein & Moeschberger 2003, section 4.5), so that without censoring it is Student's. The
    estimate is undefined where nobody at risk was followed to the horizon.
    """
    area, spread, n, reason = _area(times, happened, horizon, level)
    method = f"area under Kaplan–Meier up to {horizon:g}, Greenwood's standard error"
    low, high = _within(area, [spread], level, 0.0, horizon)
    return Result(RESTRICTED_MEAN, area, low, high, level, None, None, n, method, reason=reason)


def restricted_mean_difference(
    first: tuple[npt.ArrayLike, npt.ArrayLike],
    second: tuple[npt.ArrayLike, npt.ArrayLike],
    horizon: float,
    rng: np.random.Generator,
    resamples: int,
    level: float,
) -> Result:
    """Difference of two restricted means, first minus second, with the logrank permutation test.

    first, second   each (times, happened) of independent units, as for `kaplan_meier`
    horizon, level  as for `restricted_mean`
    rng, resamples  for the test where it is not exact

    p comes from swapping units between the groups, with Savage's logrank scores of the pooled units (Peto & Peto
    1972) up to the horizon: exact where that is feasible. Its null is that both groups have one distribution of times
    and are followed alike.
    """
    areas = [_area(*group, horizon, level) for group in (first, second)]
    (one, one_spread, m, one_reason), (other, other_spread, n, other_reason) = areas
    estimate = None if one is None or other is None else one - other
    low, high = _within(estimate, [one_spread, other_spread], level, -horizon, horizon)
    pooled = [_units(*group)[:2] for group in (first, second)]
    times, happened = (np.concatenate([group[part] for group in pooled]) for part in (0, 1))
    times = _about(times, horizon)
    scores = logrank_scores(np.minimum(times, horizon), happened & (times <= horizon))
    test = two_sample(scores[:m], scores[m:], rng, resamples)
    undefined = test.p is None or not happened[times <= horizon].any()
    return Result(
        "Difference of restricted mean times",
        estimate,
        low,
        high,
        level,
        None if undefined else test.p,
        None if undefined else test.p_attainable,
        m,
        f"areas under Kaplan–Meier up to {horizon:g}; logrank {test.method}",
        n,
        joined(one_reason, other_reason, test.reason),
    )


def logrank_scores(times: FloatArray, happened: npt.NDArray[np.bool_]) -> FloatArray:
    """Event minus expected events of each unit (Nelson–Aalen of all units): (n,), summing to 0.

    Both (n,), of finite times.
    """
    times = merged(times)
    moments, positions = np.unique(times, return_inverse=True)
    events = np.bincount(positions, weights=happened, minlength=len(moments))
    at_risk = len(times) - np.searchsorted(np.sort(times), moments)
    return happened - np.cumsum(events / at_risk)[positions] if len(times) else np.empty(0)


def _area(
    times: npt.ArrayLike, happened: npt.ArrayLike, horizon: float, level: float
) -> tuple[float | None, tuple[float, int] | None, int, str | None]:
    """Restricted mean; its variance with degrees of freedom; units; and why one of them is undefined.

    The variance is of times in the units that `rescaled` gives the horizon, so that its square root is a number.
    """
    if not 0 < horizon < np.inf:
        raise ValueError(f"the horizon is {horizon}: give a positive time")
    curve = kaplan_meier(times, happened, level)
    followed, moments = _about(np.array([curve.followed]), horizon)[0], _about(curve.times, horizon)
    if curve.n == 0:
        return None, None, 0, curve.reason
    nobody_left = len(curve.times) > 0 and curve.survival[-1] == 0
    if followed < horizon and not nobody_left:
        why = f"nobody was followed to {horizon:g}, and {curve.followed:g} is as far as the curve goes"
        return None, None, curve.n, joined(curve.reason, why)
    before = moments < horizon
    (steps,), exponent = rescaled(np.concatenate([[0.0], moments[before], [horizon]]))
    pieces = np.concatenate([[1.0], curve.survival[before]]) * np.diff(steps)
    area = restored(pieces.sum(), exponent)
    if not before.any():
        return area, None, curve.n, joined(curve.reason, f"no event before {horizon:g}: no standard error")
    later = pieces.sum() - np.cumsum(pieces)[:-1]  # area beyond each event
    later[later <= tolerance(pieces.sum(), curve.n)] = 0.0
    survivors = curve.at_risk[before] - curve.events[before]
    last = survivors == 0  # beyond it the area is 0
    terms = curve.events[before] / (curve.at_risk[before] * np.where(last, 1, survivors))
    variance = float(np.sum(np.where(last, 0.0, later**2 * terms)))
    events = int(curve.events[before].sum())
    if variance == 0 or events < 2:
        why = "one event before the horizon" if events < 2 else "all events happened at once"
        return area, None, curve.n, joined(curve.reason, f"{why}: no standard error")
    return area, (variance * events / (events - 1), events - 1), curve.n, curve.reason


def _within(
    estimate: float | None, spreads: list[tuple[float, int] | None], level: float, least: float, most: float
) -> tuple[float | None, float | None]:
    """Student's interval, cut at what is possible; degrees of freedom of a sum of variances by Welch (1947)."""
    from scipy.special import stdtrit

    known = [spread for spread in spreads if spread is not None]
    if estimate is None or len(known) < len(spreads):
        return None, None
    total = sum(variance for variance, _ in known)
    freedom = 1 / sum((variance / total) ** 2 / own for variance, own in known)
    half = restored(float(stdtrit(freedom, 1 - level / 2) * np.sqrt(total)), rescaled(np.array([most]))[1])
    return max(least, estimate - half), min(most, estimate + half)


def _about(times: FloatArray, horizon: float) -> FloatArray:
    """The times, with those that are the horizon but for rounding put there."""
    return np.where(np.abs(times - horizon) <= tolerance(horizon), horizon, times)


def _units(times: npt.ArrayLike, happened: npt.ArrayLike) -> tuple[FloatArray, npt.NDArray[np.bool_], str | None]:
    """Times and events of the units that have both, and how many have not, in words."""
    moments, (events, known) = numbers(times, "times"), answers(happened, "happened")
    if moments.shape != events.shape:
        raise ValueError(f"{len(moments)} times for {len(events)} events: give both for every unit")
    finite = np.isfinite(moments)
    if np.any(moments[finite] < 0):
        raise ValueError(f"a time is {moments[finite].min()}: times are not negative")
    remark = joined(
        left_out(int((~finite).sum()), "units without a finite time, left out: {}"),
        left_out(int((finite & ~known).sum()), "units of which it is not known whether it happened, left out: {}"),
    )
    return moments[finite & known], events[finite & known], remark
