"""Slopes of perplexity over the size of noise, and their ratios, on the scale printed and on that of logarithms.

A perplexity that explodes makes a slope of its raw values a statement about its largest point alone.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from headwise.arrays import FloatArray
from headwise.reanalysis.release import NoiseCurve, Ratio
from headwise.reanalysis.row import Row, of_result, row
from headwise.statistics.ratio import fieller
from headwise.statistics.result import Result

LEVEL = 0.05
LEAST_POINTS = 3


def slope(sigmas: FloatArray, values: FloatArray, name: str) -> tuple[Result, float]:
    """Least-squares slope with Student's t interval and test, and its standard error."""
    from scipy.special import stdtrit
    from scipy.stats import linregress

    n, method = len(sigmas), "least squares, Student's t"
    if n < LEAST_POINTS or np.ptp(sigmas) == 0:
        reason = f"{n} points: a slope with an error needs {LEAST_POINTS} that differ"
        return Result(name, None, None, None, LEVEL, None, None, n, method, reason=reason), np.nan
    fit = linregress(sigmas, values)
    half = float(stdtrit(n - 2, 1 - LEVEL / 2) * fit.stderr)
    estimate = float(fit.slope)
    result = Result(name, estimate, estimate - half, estimate + half, LEVEL, float(fit.pvalue), None, n, method)
    return result, float(fit.stderr)


def curve_rows(curve: NoiseCurve) -> Iterator[Row]:
    """Slope of perplexity, against the printed one, and of its logarithm."""
    raw, _ = slope(curve.sigmas, curve.perplexities, "slope of perplexity per unit of noise")
    yield of_result(curve.place, "noise slope", raw, curve.slope)
    if np.all(curve.perplexities > 0):
        logarithmic, _ = slope(curve.sigmas, np.log(curve.perplexities), "slope of ln perplexity per unit of noise")
        yield of_result(curve.place, "noise slope", logarithmic)


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
        fits = {each: slope(each.sigmas, each.perplexities, "") for each in (one, other)}
        if any(fit.estimate is None for fit, _ in fits.values()):
            continue
        top, bottom = (one, other) if (fits[one][0].estimate or 0) >= (fits[other][0].estimate or 0) else (other, one)
        models = f"{_name(top)} over {_name(bottom)}"
        denominator = fits[bottom][0]
        yield row(
            bottom.place, "noise ratio", f"denominator of {models}", value=denominator.estimate, low=denominator.low,
            high=denominator.high, p=denominator.p, n=denominator.n, method="test that the slope is 0",
            remark="cannot be told from 0" if (denominator.p or 0) > LEVEL else None,
        )  # fmt: skip
        scales = [("perplexity", lambda values: values)]
        if np.all(top.perplexities > 0) and np.all(bottom.perplexities > 0):
            scales.append(("ln perplexity", np.log))
        for scale, transform in scales:
            above, below = (slope(each.sigmas, transform(each.perplexities), "") for each in (top, bottom))
            freedom = min(above[0].n, below[0].n) - 2
            name = f"ratio of slopes of {scale}, {models}"
            pair = [(fit.estimate or 0.0, error) for fit, error in (above, below)]
            beside = printed.get(top.place.file) if scale == "perplexity" else None
            yield of_result(top.place, "noise ratio", fieller(pair[0], pair[1], freedom, LEVEL, name), beside)


def _name(curve: NoiseCurve) -> str:
    return curve.place.model or curve.place.keys[-1]
