"""Slopes of perplexity over the size of noise, and their ratios, on the scale printed and on that of logarithms.

A perplexity that explodes makes a slope of its raw values a statement about its largest point alone.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from headwise.published.items import NoiseCurve, Ratio
from headwise.published.row import Row, of_result, row
from headwise.statistics.arrays import FloatArray
from headwise.statistics.ratio import fieller
from headwise.statistics.result import Result, joined
from headwise.statistics.ties import is_constant, largest, tolerance

LEVEL = 0.05
LEAST_POINTS = 3
SAME_MODEL = "both names may stand for one model"


def slope(sigmas: FloatArray, values: FloatArray, name: str, size: float = 0.0) -> tuple[Result, float]:
    """Least-squares slope with Student's t interval and test, and its standard error.

    size  that rounding of the values is relative to, where it is larger than they are: 1 for logarithms

    Where the points lie on a line but for rounding there is no error, and so no interval and no test; NaN is its error.
    """
    from scipy.special import stdtrit
    from scipy.stats import linregress

    n, method = len(sigmas), "least squares, Student's t"
    if n < LEAST_POINTS or is_constant(sigmas):
        reason = f"{n} points: a slope with an error needs {LEAST_POINTS} that differ"
        return Result(name, None, None, None, LEVEL, None, None, n, method, reason=reason), np.nan
    rounding = tolerance(max(size, largest(values)), n)
    if values.max() - values.min() <= rounding:
        return Result(name, 0.0, None, None, LEVEL, None, None, n, method, reason="all points have one value"), np.nan
    # Powers of two change no digit, and squares of what is left neither overflow nor vanish.
    powers = [int(np.frexp(np.abs(each).max())[1]) for each in (sigmas, values)]
    fit = linregress(np.ldexp(sigmas, -powers[0]), np.ldexp(values, -powers[1]))
    with np.errstate(over="ignore"):  # what overflows here is refused below
        estimate, error = (float(np.ldexp(each, powers[1] - powers[0])) for each in (fit.slope, fit.stderr))
    if error * np.ptp(sigmas) <= rounding:
        return Result(
            name, estimate, None, None, LEVEL, None, None, n, method, reason="the points lie on a line"
        ), np.nan
    half = float(stdtrit(n - 2, 1 - LEVEL / 2) * error)
    result = Result(name, estimate, estimate - half, estimate + half, LEVEL, float(fit.pvalue), None, n, method)
    if not np.isfinite([estimate, half, estimate - half, estimate + half]).all():
        reason = "the slope or its interval lies beyond the range of numbers"
        return Result(name, None, None, None, LEVEL, None, None, n, method, reason=reason), np.nan
    return result, error


def curve_rows(curve: NoiseCurve) -> Iterator[Row]:
    """Slope of perplexity, against the printed one, and of its logarithm."""
    points = len(curve.sigmas) + curve.left_out
    remark = f"{curve.left_out} of {points} points left out: they are no numbers" if curve.left_out else None
    raw, _ = slope(curve.sigmas, curve.perplexities, "slope of perplexity per unit of noise")
    # What rounding does to a slope depends on the values, not on the slope.
    scale = 1.0 if raw.estimate is None else float(curve.perplexities.max()) / float(np.ptp(curve.sigmas))
    yield of_result(curve.place, "noise slope", raw, curve.slope, scale, remark)
    logarithmic, _ = slope(curve.sigmas, np.log(curve.perplexities), "slope of ln perplexity per unit of noise", 1.0)
    yield of_result(curve.place, "noise slope", logarithmic, remark=remark)


def ratio_rows(curves: Sequence[NoiseCurve], ratios: Sequence[Ratio]) -> Iterator[Row]:
    """Ratios of the slopes of all pairs of models in one file and seed, the larger raw slope above.

    With each: whether the denominator can be told from 0. A ratio over a denominator that cannot is unbounded. A
    printed ratio stands beside its file's only pair of curves; one without such a pair has a row of its own.
    """
    pairs: dict[str, list[tuple[NoiseCurve, NoiseCurve]]] = {}
    for one, other in combinations(curves, 2):
        if one.place.file == other.place.file and one.place.seed == other.place.seed:
            pairs.setdefault(one.place.file, []).append((one, other))
    printed: dict[str, float] = {}
    for ratio in ratios:
        if len(pairs.get(ratio.place.file, [])) == 1:
            printed.setdefault(ratio.place.file, ratio.printed)
        else:
            remark = "the file holds no curve of perplexity from which the ratio could be computed"
            yield row(ratio.place, "noise ratio", "printed ratio of slopes", printed=ratio.printed, remark=remark)
    for one, other in (pair for own in pairs.values() for pair in own):
        yield from _ratios(one, other, printed.get(one.place.file))


def _ratios(one: NoiseCurve, other: NoiseCurve, printed: float | None) -> Iterator[Row]:
    fits = {each: slope(each.sigmas, each.perplexities, "")[0] for each in (one, other)}
    if any(fit.estimate is None for fit in fits.values()):
        which = next(each for each in (one, other) if fits[each].estimate is None)
        remark = f"no ratio: the slope of {_name(which)} is undefined: {fits[which].reason}"
        yield row(
            which.place,
            "noise ratio",
            f"ratio of slopes, {_name(one)} and {_name(other)}",
            printed=printed,
            remark=remark,
        )
        return
    top, bottom = (one, other) if (fits[one].estimate or 0) >= (fits[other].estimate or 0) else (other, one)
    models = f"{_name(top)} over {_name(bottom)}"
    same = SAME_MODEL if _plain(_name(top)) == _plain(_name(bottom)) else None
    denominator = fits[bottom]
    yield row(
        bottom.place, "noise ratio", f"denominator of {models}", value=denominator.estimate, low=denominator.low,
        high=denominator.high, p=denominator.p, n=denominator.n, method="test that the slope is 0",
        remark=joined(denominator.reason, "cannot be told from 0" if (denominator.p or 0) > LEVEL else None),
    )  # fmt: skip
    for scale in ("perplexity", "ln perplexity"):
        name = f"ratio of slopes of {scale}, {models}"
        above, below = (
            slope(each.sigmas, each.perplexities, name)
            if scale == "perplexity"
            else slope(each.sigmas, np.log(each.perplexities), name, 1.0)
            for each in (top, bottom)
        )
        beside = printed if scale == "perplexity" else None
        # Rounding of a ratio is relative to it.
        yield of_result(top.place, "noise ratio", _ratio(above, below, name), beside, scale=0.0, remark=same)


def _ratio(above: tuple[Result, float], below: tuple[Result, float], name: str) -> Result:
    """Fieller's interval; without one where a slope has no error."""
    numerator, denominator = above[0].estimate or 0.0, below[0].estimate or 0.0
    n = min(above[0].n, below[0].n)
    without = next((fit.reason for fit, _ in (above, below) if fit.p is None), None)
    if without is None or denominator == 0:
        return fieller((numerator, above[1]), (denominator, below[1]), n - 2, LEVEL, name)
    return Result(
        name, numerator / denominator, None, None, LEVEL, None, None, n, "quotient", reason=f"no interval: {without}"
    )


def _name(curve: NoiseCurve) -> str:
    return curve.place.model or str(curve.place)


def _plain(name: str) -> str:
    """A model's name without its owner, and without what spellings differ in."""
    return re.sub("[^a-z0-9]", "", name.rsplit("/", 1)[-1].casefold())
