"""A ratio of two estimates, which has no bounds where the denominator could be zero."""

from math import hypot, isfinite

from scipy.special import stdtrit

from headwise.statistics.result import Result


def fieller(
    numerator: tuple[float, float], denominator: tuple[float, float], freedom: int, level: float, name: str = "Ratio"
) -> Result:
    """Interval of a ratio of two independent estimates, each (value, standard error) (Fieller 1954).

    freedom  degrees of freedom of the errors
    level    the interval covers 1 − level

    It holds all ratios θ for which numerator − θ × denominator is no further from 0 than its error allows. Where the
    denominator's own interval includes 0 these reach to infinity: there is then no interval, and the reason says so.
    """
    (a, a_error), (b, b_error) = numerator, denominator
    method = f"Fieller's interval, {freedom} degrees of freedom"
    n = freedom + 2
    if b == 0:
        return Result(name, None, None, None, level, None, None, n, method, reason="the denominator is 0")
    if not all(map(isfinite, (a, a_error, b, b_error))):
        return Result(name, None, None, None, level, None, None, n, method, reason="an estimate or error is not finite")
    factor = float(stdtrit(freedom, 1 - level / 2))
    ratio, errors = a / b, abs(factor * b_error / b)
    if errors >= 1:
        why = "unbounded: the interval of the denominator includes 0"
        return Result(name, ratio, None, None, level, None, None, n, method, reason=why)
    left = 1 - errors**2
    centre = ratio / left
    half = factor / abs(b) / left * hypot(a_error * left**0.5, ratio * b_error)
    return Result(name, ratio, centre - half, centre + half, level, None, None, n, method)
