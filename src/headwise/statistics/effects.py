"""One effect measured in several families of models: its mean, how much families differ, and which one matters.

Refits of one family say nothing about other families; the family is the unit here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headwise.statistics.arrays import FloatArray
from headwise.statistics.result import Result, joined
from headwise.statistics.ties import is_constant, largest, rescaled, restored, snapped, tolerance
from headwise.statistics.values import codes, left_out, numbers

NAME = "Mean effect over families"
NO_EFFECT = "families without a finite effect, left out: {}"
MOST_STEPS = 2000  # of the search for the variance: halving the whole range of float64 takes fewer


@dataclass(frozen=True)
class RandomEffects(Result):
    """The mean effect, and where the effect of one further family is expected.

    tau              standard deviation of true effects between families; None where it cannot be told from the
                     errors of the effects
    i_squared        share of the variance of the effects that is not error, within 0…1; None as above
    prediction_low   lower end of the interval that covers the effect of a further family; None below three families
    prediction_high  its upper end
    """

    tau: float | None = None
    i_squared: float | None = None
    prediction_low: float | None = None
    prediction_high: float | None = None

    def __str__(self) -> str:
        if self.prediction_low is None:
            return super().__str__()
        further = f" A further family is expected at {self.prediction_low:.4g} to {self.prediction_high:.4g}."
        return super().__str__() + further


def random_effects(effects: npt.ArrayLike, errors: npt.ArrayLike, level: float) -> RandomEffects:
    """Random-effects summary of k families.

    effects  (k,) effect of each family; families without a finite effect are left out, and the reason says how many
    errors   (k,) standard errors of the effects. Where one is not finite, or 0 but for rounding (a family with one
             refit, or with equal ones), families count alike: the interval is then Student's t over families
    level    intervals cover 1 − level

    Variance between families by Paule & Mandel (1982); interval and p by Hartung & Knapp (2001) with k − 1 degrees of
    freedom, never narrower than with the errors as given (Knapp & Hartung 2003). Prediction interval with k − 2
    degrees of freedom (Higgins, Thompson & Spiegelhalter 2009), for three families or more.
    """
    from scipy.special import stdtr, stdtrit

    values, given = numbers(effects, "effects"), numbers(errors, "errors")
    if values.shape != given.shape:
        raise ValueError(f"{len(values)} effects for {len(given)} standard errors: give both for every family")
    if np.any(given < 0):
        raise ValueError(f"a standard error is {given[given < 0][0]}: errors are not negative")
    finite = np.isfinite(values)
    remark = left_out(int((~finite).sum()), NO_EFFECT)
    values, given = values[finite], given[finite]
    k = len(values)
    weighted = k > 1 and bool(np.all(np.isfinite(given) & (given > tolerance(largest(values)))))
    method = "random effects: Paule–Mandel, Hartung–Knapp" if weighted else "Student's t over families that count alike"
    if k < 2:
        estimate, why = (float(values[0]), "one family") if k else (None, "no family has a finite effect")
        return RandomEffects(NAME, estimate, None, None, level, None, None, k, method, reason=joined(remark, why))
    (values, given), exponent = rescaled(values, np.where(weighted, given, 0.0))
    tau: float | None = None
    i_squared: float | None = None
    if weighted:
        estimate, error, tau, i_squared = _paule_mandel(values, given)
        spread = float(np.hypot(tau, error))
    else:
        remark = joined(remark, "a family without a standard error: families count alike")
        estimate = float(values.mean())
        error = 0.0 if is_constant(values) else float(values.std(ddof=1) / np.sqrt(k))
        spread = error * np.sqrt(k + 1)
    estimate = snapped(estimate, values)
    if error == 0:
        found, why = restored(estimate, exponent), "all effects are equal"
        return RandomEffects(NAME, found, None, None, level, None, None, k, method, reason=joined(remark, why))
    half = float(stdtrit(k - 1, 1 - level / 2)) * error
    freedom = k - 2 if weighted else k - 1
    ahead = float(stdtrit(freedom, 1 - level / 2)) * spread if k > 2 else None
    return RandomEffects(
        NAME,
        restored(estimate, exponent),
        restored(estimate - half, exponent),
        restored(estimate + half, exponent),
        level,
        float(2 * stdtr(k - 1, -abs(estimate) / error)),
        0.0,
        k,
        method,
        reason=joined(remark, None if ahead else "two families: no prediction interval"),
        tau=None if tau is None else restored(tau, exponent),
        i_squared=i_squared,
        prediction_low=None if ahead is None else restored(estimate - ahead, exponent),
        prediction_high=None if ahead is None else restored(estimate + ahead, exponent),
    )


def leave_one_out(values: npt.ArrayLike) -> FloatArray:
    """Mean of the other values for each of k values: (k,), NaN for a value that is alone; all must be finite."""
    sample = numbers(values, "values")
    if not np.isfinite(sample).all():
        raise ValueError("a value is not finite: leave it out")
    others = len(sample) - 1
    return (sample.sum() - sample) / others if others > 0 else np.full(len(sample), np.nan)


def family_effects(values: npt.ArrayLike, families: Sequence[str]) -> tuple[list[str], FloatArray, FloatArray]:
    """Families in the order given, the mean of each over its finite values, and the standard error of that mean.

    A family with one finite value has an error of NaN, one with equal values an error of exactly 0; one without any is
    left out.
    """
    sample = numbers(values, "values")
    members = codes(families, len(sample), "values")
    names: list[str] = []
    means, errors = [], []
    for family in range(members.max(initial=-1) + 1):
        own = sample[(members == family) & np.isfinite(sample)]
        if not len(own):
            continue
        names.append(families[int(np.flatnonzero(members == family)[0])])
        (own,), exponent = rescaled(own)
        means.append(restored(float(own.mean()), exponent))
        alone = len(own) < 2
        error = np.nan if alone else 0.0 if is_constant(own) else np.sqrt(own.var(ddof=1) / len(own))
        errors.append(restored(error, exponent))
    return names, np.array(means, dtype=np.float64), np.array(errors, dtype=np.float64)


def _paule_mandel(values: FloatArray, errors: FloatArray) -> tuple[float, float, float, float]:
    """Mean effect, its standard error, standard deviation between families, and I².

    The variance t between families is where the weighted squares Q(t) of the effects about their weighted mean, weights
    1 / (error² + t), are k − 1. Q falls, so that there is one such t, or none above 0; and Q(t) is at most the sum of
    squares over t. At t, Hartung & Knapp's error is that of the weights, and for t = 0 it is not above it: the larger
    of both is always the latter.
    """
    from scipy.optimize import brentq

    freedom = len(values) - 1
    # Both in units of the least error, so that weights are at most 1.
    unit = errors.min()
    effects = (values - values.mean()) / unit
    with np.errstate(over="ignore"):  # an error so large has no weight
        squares = (errors / unit) ** 2

    def weighted(variance: float) -> tuple[float, float, float]:
        weights = 1 / (squares + variance)
        mean = np.sum(weights * effects) / weights.sum()
        return float(mean), float(weights.sum()), float(np.sum(weights * (effects - mean) ** 2))

    alike = weighted(0.0)[2]
    variance = 0.0
    if alike > freedom:
        # Twice the bound, where rounding leaves no doubt. The search raises RuntimeError where it does not end.
        most = 2 * float(np.sum(effects**2)) / freedom
        variance = brentq(
            lambda tried: weighted(tried)[2] - freedom, 0.0, most, xtol=1e-300, rtol=1e-14, maxiter=MOST_STEPS
        )
    mean, weight, _ = weighted(variance)
    found = float(values.mean() + mean * unit), float(unit / np.sqrt(weight)), float(unit * np.sqrt(variance))
    return *found, max(0.0, 1 - freedom / alike) if alike > 0 else 0.0
