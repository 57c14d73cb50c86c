"""A ratio of two estimates, which has no bounds where the denominator could be zero."""

from math import isfinite
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from headwise.statistics.intervals import Interval, finite_values, t_interval
from headwise.statistics.ratio_verdict import RatioVerdict
from headwise.statistics.result import Result
from headwise.statistics.ties import rescaled, restored

# Where an outcome deviates to both sides alike: as it is, or on a log scale, where all of it is positive.
Scale = Literal["raw", "log"]


def indistinguishable(denominator: Interval, name: str) -> str | None:
    """Why a ratio to an estimate has no bounds: nothing tells the estimate from 0; None where its interval does.

    Every function that gives ratios asks this one. `name` says in the sentence whose estimate it is; a
    level of 0 is one that is not known.
    """
    if denominator.estimate is None or denominator.low is None or denominator.high is None:
        return f"{name} has no interval that tells it from 0"
    if denominator.low > 0 or denominator.high < 0:
        return None
    coverage = f"{100 * (1 - denominator.level):g} % " if denominator.level else ""
    return (
        f"{name} {denominator.estimate:.4g} is indistinguishable from 0 ({coverage}interval "
        f"{denominator.low:.4g} to {denominator.high:.4g}, n = {denominator.n})"
    )


def unbounded_because(reference: npt.ArrayLike, level: float, scale: Scale = "raw") -> str | None:
    """Why a ratio to the mean of these units has no upper bound; None where it has one.

    reference  (n,) one number per unit; those that are not finite are left out
    scale      "log": of numbers that are positive by nature, such as areas under a curve that rises. Where all are,
               two units or more have an interval on the log scale, on which none reaches 0; else as "raw"
    """
    sample, _ = finite_values(reference, "reference")
    if len(sample) == 1:
        return "one unit of the reference does not tell its area from 0"
    if scale == "log" and len(sample) and (sample > 0).all():
        return None
    return indistinguishable(t_interval(sample, level), "the reference's")


def fieller(
    numerator: tuple[float, float], denominator: tuple[float, float], freedom: int, level: float, name: str = "Ratio"
) -> Result:
    """Interval of a ratio of two independent estimates, each (value, standard error) (Fieller 1954).

    freedom  degrees of freedom of the errors, at least 1
    level    the interval covers 1 − level

    It holds all ratios θ for which numerator − θ × denominator is no further from 0 than its error allows. Where the
    denominator's own interval includes 0 these reach to infinity: there is then no interval, and the reason says so.
    """
    if freedom < 1:
        raise ValueError(f"a ratio with {freedom} degrees of freedom: give at least 1")
    method = f"Fieller's interval, {freedom} degrees of freedom"
    n = freedom + 2
    if denominator[0] == 0:
        return Result(name, None, None, None, level, None, None, n, method, reason="the denominator is 0")
    if not all(map(isfinite, (*numerator, *denominator))):
        return Result(name, None, None, None, level, None, None, n, method, reason="an estimate or error is not finite")
    (above,), raised = rescaled(np.array(numerator))
    (below,), lowered = rescaled(np.array(denominator))
    (a, a_error), (b, b_error), exponent = above, below, raised - lowered
    factor = float(stdtrit(freedom, 1 - level / 2))
    ratio, half = a / b, factor * b_error
    why = indistinguishable(Interval(b, b - half, b + half, level, n, method), "the denominator's")
    if why is not None:
        remark = f"{RatioVerdict.UNBOUNDED}: {why}"
        return Result(name, restored(ratio, exponent), None, None, level, None, None, n, method, reason=remark)
    room = 1 - (half / b) ** 2
    centre = ratio / room
    half = factor / abs(b) / room * np.sqrt(a_error**2 * room + ratio**2 * b_error**2)
    value, low, high = (restored(each, exponent) for each in (ratio, centre - half, centre + half))
    return Result(name, value, low, high, level, None, None, n, method)
