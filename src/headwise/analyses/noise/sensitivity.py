"""How sensitive a model is to noise, in one number, and whether another model is more sensitive.

The number is the area under the change of the loss, ΔNLL(σ), from σ = 0 to the largest dose, in nats per token times
the unit of σ: it needs no straight line, unlike a slope, and no single dose, unlike a ratio at one σ.
"""

from collections.abc import Sequence

import numpy as np

from headwise.analyses.noise.rows import SensitivityContrast
from headwise.statistics.arrays import FloatArray
from headwise.statistics.clusters import times_drawn
from headwise.statistics.intervals import (
    FEW_CLUSTERS,
    Interval,
    jackknife,
    welch_from_errors,
    welch_interval,
)
from headwise.statistics.permutation import two_sample
from headwise.statistics.power import pooled_deviation
from headwise.statistics.procedures import Procedure
from headwise.statistics.ratio import Scale, unbounded_because
from headwise.statistics.ratio_verdict import RatioVerdict
from headwise.statistics.result import finite_or_none, joined
from headwise.statistics.ties import is_constant, rescaled, restored, snapped
from headwise.statistics.values import numbers


def area(sigmas: Sequence[float], changes: Sequence[float]) -> float:
    """Area under changes of the loss against σ, by trapezoids, from (0, 0) to the largest σ.

    sigmas, changes: of the same length; doses in any order, all above 0. NaN where a change is.
    """
    given, found = numbers(sigmas, "sigmas"), numbers(changes, "changes")
    if len(given) != len(found):
        raise ValueError(f"{len(found)} changes for {len(given)} doses: give one each")
    order = np.argsort(given, kind="stable")
    doses, values = np.concatenate([[0.0], given[order]]), np.concatenate([[0.0], found[order]])
    if not np.isfinite(values).all():
        return float("nan")
    (values,), exponent = rescaled(values)
    return restored(float(np.trapezoid(values, doses)), exponent)


def slope(sigmas: Sequence[float], values: Sequence[float]) -> float | None:
    """Slope of the least-squares line of values against σ: the published number, of perplexities.

    None where a value is not finite, or where there are not two doses that differ by more than rounding.
    """
    doses, found = numbers(sigmas, "sigmas"), numbers(values, "values")
    if len(doses) < 2 or is_constant(doses) or not np.isfinite(found).all():
        return None
    ((found,), up), ((doses,), down) = rescaled(found), rescaled(doses)
    centred = doses - doses.mean()
    return finite_or_none(restored(float(centred @ found / (centred @ centred)), up - down))


def contrast(
    group: dict[int, float],
    reference: dict[int, float],
    rng: np.random.Generator,
    resamples: int,
    level: float,
    scale: Scale = "log",
) -> SensitivityContrast:
    """Compare areas, or other numbers, of units by seed; those that are not finite are left out and counted.

    rng, resamples  for the test where it is not exact, and for the bootstrap of many units
    level           intervals cover 1 − level
    scale           on which the numbers deviate to both sides alike: "log" where they are positive by nature, as areas
                    are; "raw" for slopes, which may fall
    """
    ours, theirs = (_finite(each) for each in (group, reference))
    left_out = len(group) + len(reference) - len(ours) - len(theirs)
    remark = f"units without a finite area, left out: {left_out}" if left_out else None
    first, second = np.array(list(ours.values())), np.array(list(theirs.values()))
    n, m = len(first), len(second)
    if not n or not m:
        empty = "neither model" if n == m else "the model" if not n else "the reference"
        why = joined(remark, f"{empty} has {'a' if n == m else 'no'} unit with a finite area")
        return SensitivityContrast(verdict=RatioVerdict.UNDEFINED, method="none", n=n, n_reference=m, reason=why)
    why = unbounded_because(second, level, scale)
    (first, second), _ = rescaled(first, second)  # ratios and tests are those of the numbers as given
    positive = bool((first > 0).all() and (second > 0).all())
    one, other = (np.log(first), np.log(second)) if positive else (first, second)
    test = two_sample(one, other, rng, resamples)
    mean = snapped(float(second.mean()), second)
    ratio = finite_or_none(float(first.mean()) / mean) if mean else None
    shared = sorted(set(ours) & set(theirs))
    paired = [ours[seed] / theirs[seed] for seed in shared if theirs[seed] != 0]
    complete = len(paired) == n == m
    log_ratio = None if ratio is None or ratio <= 0 else float(np.log(ratio))
    of_means = log_ratio_interval(first, second, rng, resamples, level)
    welch = welch_interval(one, other, level) if positive else None
    bounded = why is None
    return SensitivityContrast(
        verdict=RatioVerdict.of(ratio, why),
        why_unbounded=why,
        ratio_of_means=ratio,
        median_of_ratios=finite_or_none(np.median(paired)) if complete else None,
        geometric_mean=_exp(one.mean() - other.mean()) if positive else None,
        log_ratio=log_ratio,
        log_low=of_means.low if bounded and log_ratio is not None else None,
        log_high=of_means.high if bounded and log_ratio is not None else None,
        geometric_low=_exp(welch.low) if bounded and welch and welch.low is not None else None,
        geometric_high=_exp(welch.high) if bounded and welch and welch.high is not None else None,
        log_deviation=finite_or_none(pooled_deviation([one, other])) if positive else None,
        p=test.p,
        p_attainable=test.p_attainable,
        procedure=Procedure.TWO_SAMPLES,
        n=n,
        n_reference=m,
        method=f"{test.method} of {'ln areas' if positive else 'areas'}; {of_means.method} of the log ratio; "
        "Welch's t of ln areas",
        reason=joined(remark, test.reason, None if complete else "seeds differ: no ratio per seed"),
    )


def _finite(units: dict[int, float]) -> dict[int, float]:
    """The units with a finite number."""
    values = numbers(list(units.values()), "areas")
    return {unit: float(value) for unit, value in zip(units, values, strict=True) if np.isfinite(value)}


def log_ratio_interval(
    first: FloatArray, second: FloatArray, rng: np.random.Generator, resamples: int, level: float
) -> Interval:
    """Interval of ln(mean of first / mean of second) over units, (n,) and (m,); none where a mean is not positive.

    With `FEW_CLUSTERS` units or more in both, percentiles over resamples drawn within each; with fewer that is too
    narrow, and the interval is Welch's t with jackknife errors.
    """
    n = len(first) + len(second)
    jackknifed = [jackknife(sample[:, None], _log_of_mean) for sample in (first, second)]
    estimate = float(jackknifed[0][0][0] - jackknifed[1][0][0])
    errors = [float(error[0]) for _, error, _ in jackknifed]
    if min(len(first), len(second)) < FEW_CLUSTERS:
        words = "Welch's t with jackknife errors"
        if not np.isfinite([estimate, *errors]).all():
            reason = "one unit, or a mean that is not positive"
            return Interval(finite_or_none(estimate), None, None, level, n, words, reason)
        return welch_from_errors(estimate, errors, [len(first), len(second)], level, words)
    means = [times_drawn(len(sample), resamples, rng) @ sample / len(sample) for sample in (first, second)]
    drawn = _log_of_mean(means[0]) - _log_of_mean(means[1])
    drawn = drawn[np.isfinite(drawn)]
    words = f"percentile bootstrap, {resamples:,} resamples"
    if not len(drawn):
        return Interval(finite_or_none(estimate), None, None, level, n, words, "no mean is positive")
    low, high = np.quantile(drawn, [level / 2, 1 - level / 2])
    return Interval(finite_or_none(estimate), float(low), float(high), level, n, words)


def _log_of_mean(means: FloatArray) -> FloatArray:
    """ln, NaN where a mean is not positive."""
    return np.log(np.where(means > 0, means, np.nan))


def _exp(value: float) -> float | None:
    """e to a power; None where that is beyond the range of numbers."""
    with np.errstate(over="ignore"):
        return finite_or_none(float(np.exp(value)))
