"""How sensitive a model is to noise, in one number, and whether another model is more sensitive.

The number is the area under the change of the loss, ΔNLL(σ), from σ = 0 to the largest dose, in nats per token times
the unit of σ: it needs no straight line, unlike a slope, and no single dose, unlike a ratio at one σ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwise.statistics.intervals import (
    FEW_CLUSTERS,
    Interval,
    jackknife,
    t_interval,
    welch_from_errors,
    welch_interval,
)
from headwise.statistics.permutation import FloatArray, two_sample
from headwise.statistics.result import finite_or_none, joined

UNBOUNDED = "unbounded"


@dataclass(frozen=True)
class SensitivityContrast:
    """The areas of a group of units over those of a reference.

    ratio_of_means, median_of_ratios, geometric_mean  as D'Elia (2026) lists them: mean over mean; median over units of
                  the same seed of their ratios (None where seeds differ); ratio of geometric means (None where an area
                  is not positive)
    log_ratio     ln of the ratio of means, with its interval log_low, log_high over units (`log_ratio_interval`)
    geometric_low, geometric_high  Welch's interval of the ratio of geometric means, which suits few units better
    p, p_attainable  two-sided permutation test of ln areas; of areas where one is not positive
    verdict       the ratio in words: a number, or that it is unbounded, because the interval of the reference's mean
                  holds 0. All numbers stay as they were computed; intervals of an unbounded ratio are None
    n, n_reference  units
    """

    verdict: str
    method: str
    n: int
    n_reference: int
    ratio_of_means: float | None = None
    median_of_ratios: float | None = None
    geometric_mean: float | None = None
    log_ratio: float | None = None
    log_low: float | None = None
    log_high: float | None = None
    geometric_low: float | None = None
    geometric_high: float | None = None
    p: float | None = None
    p_attainable: float | None = None
    reason: str | None = None


def area(sigmas: Sequence[float], changes: Sequence[float]) -> float:
    """Area under changes of the loss against σ, by trapezoids, from (0, 0) to the largest σ.

    sigmas, changes: of the same length; doses in any order, all above 0. NaN where a change is.
    """
    order = np.argsort(sigmas)
    doses = np.concatenate([[0.0], np.asarray(sigmas, dtype=np.float64)[order]])
    values = np.concatenate([[0.0], np.asarray(changes, dtype=np.float64)[order]])
    return float(np.trapezoid(values, doses))


def slope(sigmas: Sequence[float], values: Sequence[float]) -> float | None:
    """Slope of the least-squares line of values against σ: the published number, of perplexities; None below two doses.

    None where a value is not finite.
    """
    doses, found = np.asarray(sigmas, dtype=np.float64), np.asarray(values, dtype=np.float64)
    centred = doses - doses.mean()
    if len(doses) < 2 or not centred.any():
        return None
    return finite_or_none(float(centred @ found / (centred @ centred)))


def contrast(
    group: dict[int, float],
    reference: dict[int, float],
    rng: np.random.Generator,
    resamples: int,
    level: float,
) -> SensitivityContrast:
    """Compare areas, or other positive numbers, of units by seed; those that are not finite are left out and counted.

    rng, resamples  for the test where it is not exact, and for the bootstrap of many units
    level           intervals cover 1 − level
    """
    ours, theirs = ({seed: value for seed, value in each.items() if np.isfinite(value)} for each in (group, reference))
    left_out = len(group) + len(reference) - len(ours) - len(theirs)
    remark = f"units without a finite area, left out: {left_out}" if left_out else None
    first, second = np.array(list(ours.values())), np.array(list(theirs.values()))
    n, m = len(first), len(second)
    if not n or not m:
        empty = "neither model" if n == m else "the model" if not n else "the reference"
        why = joined(remark, f"{empty} has {'a' if n == m else 'no'} unit with a finite area")
        return SensitivityContrast("undefined: no unit to compare", "none", n, m, reason=why)
    positive = bool((first > 0).all() and (second > 0).all())
    one, other = (np.log(first), np.log(second)) if positive else (first, second)
    test = two_sample(one, other, rng, resamples)
    why = unbounded_because(second, level)
    ratio = finite_or_none(first.mean() / second.mean()) if second.mean() else None
    shared = sorted(set(ours) & set(theirs))
    paired = [ours[seed] / theirs[seed] for seed in shared if theirs[seed] != 0]
    complete = len(paired) == n == m
    log_ratio = None if ratio is None or ratio <= 0 else float(np.log(ratio))
    of_means = log_ratio_interval(first, second, rng, resamples, level)
    welch = welch_interval(one, other, level) if positive else None
    bounded = why is None
    return SensitivityContrast(
        ratio_of_means=ratio,
        median_of_ratios=float(np.median(paired)) if complete else None,
        geometric_mean=float(np.exp(one.mean() - other.mean())) if positive else None,
        log_ratio=log_ratio,
        log_low=of_means.low if bounded and log_ratio is not None else None,
        log_high=of_means.high if bounded and log_ratio is not None else None,
        geometric_low=float(np.exp(welch.low)) if bounded and welch and welch.low is not None else None,
        geometric_high=float(np.exp(welch.high)) if bounded and welch and welch.high is not None else None,
        p=test.p,
        p_attainable=test.p_attainable,
        n=n,
        n_reference=m,
        verdict=f"{UNBOUNDED}: {why}" if why else _in_words(ratio),
        method=f"{test.method} of {'ln areas' if positive else 'areas'}; {of_means.method} of the log ratio; "
        "Welch's t of ln areas",
        reason=joined(remark, test.reason, None if complete else "seeds differ: no ratio per seed"),
    )


def unbounded_because(reference: FloatArray, level: float) -> str | None:
    """Why a ratio to these units has no upper bound; None where the interval of their mean is above or below 0."""
    interval = t_interval(reference, level)
    if interval.low is None or interval.high is None:
        return "one unit of the reference does not tell its area from 0"
    if interval.low <= 0 <= interval.high:
        return (
            f"the reference's {interval.estimate:.4g} is indistinguishable from 0 ({100 * (1 - level):g} % interval "
            f"{interval.low:.4g} to {interval.high:.4g}, n = {interval.n})"
        )
    return None


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
    means = [
        rng.multinomial(len(sample), np.full(len(sample), 1 / len(sample)), size=resamples) @ sample / len(sample)
        for sample in (first, second)
    ]
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


def _in_words(ratio: float | None) -> str:
    return "undefined" if ratio is None else f"{ratio:.3g} times"
