"""One effect measured in several families of models: its mean, how much families differ, and which one matters.

Refits of one family say nothing about other families; the family is the unit here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headwise.arrays import FloatArray
from headwise.statistics.intervals import is_constant
from headwise.statistics.result import Result, joined

NAME = "Mean effect over families"


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


def random_effects(effects: npt.ArrayLike, variances: npt.ArrayLike, level: float) -> RandomEffects:
    """Random-effects summary of k families.

    effects    (k,) effect of each family; families without a finite effect are left out, and the reason says how many
    variances  (k,) squared standard errors of the effects. Where one is not finite or not positive (a family with one
               refit, or with equal ones), families count alike: the interval is then Student's t over families
    level      intervals cover 1 − level

    Variance between families by Paule & Mandel (1982), through statsmodels; interval and p by Hartung & Knapp (2001)
    with k − 1 degrees of freedom, never narrower than with the errors as given (Knapp & Hartung 2003). Prediction
    interval with k − 2 degrees of freedom (Higgins, Thompson & Spiegelhalter 2009), for three families or more.
    """
    from scipy.special import stdtr, stdtrit

    values, errors = np.asarray(effects, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if values.shape != errors.shape:
        raise ValueError(f"{len(values)} effects for {len(errors)} variances: give both for every family")
    finite = np.isfinite(values)
    left_out = int((~finite).sum())
    remark = f"families without a finite effect, left out: {left_out}" if left_out else None
    values, errors = values[finite], errors[finite]
    k = len(values)
    weighted = bool(np.all(np.isfinite(errors) & (errors > 0))) and k > 1
    method = "random effects: Paule–Mandel, Hartung–Knapp" if weighted else "Student's t over families that count alike"
    if k < 2:
        estimate, why = (float(values[0]), "one family") if k else (None, "no family has a finite effect")
        return RandomEffects(NAME, estimate, None, None, level, None, None, k, method, reason=joined(remark, why))
    tau_squared: float | None = None
    i_squared: float | None = None
    if weighted:
        estimate, error, tau_squared, i_squared = _paule_mandel(values, errors)
        spread = tau_squared + error**2
    else:
        remark = joined(remark, "a family without a standard error: families count alike")
        estimate = float(values.mean())
        error = 0.0 if is_constant(values) else float(values.std(ddof=1) / np.sqrt(k))
        spread = error**2 * (k + 1)
    if error == 0:
        return RandomEffects(
            NAME, estimate, None, None, level, None, None, k, method, reason=joined(remark, "all effects are equal")
        )
    half = float(stdtrit(k - 1, 1 - level / 2)) * error
    freedom = k - 2 if weighted else k - 1
    ahead = float(stdtrit(freedom, 1 - level / 2)) * np.sqrt(spread) if k > 2 else None
    return RandomEffects(
        NAME,
        estimate,
        estimate - half,
        estimate + half,
        level,
        float(2 * stdtr(k - 1, -abs(estimate) / error)),
        0.0,
        k,
        method,
        reason=joined(remark, None if ahead else "two families: no prediction interval"),
        tau=None if tau_squared is None else float(np.sqrt(tau_squared)),
        i_squared=i_squared,
        prediction_low=None if ahead is None else float(estimate - ahead),
        prediction_high=None if ahead is None else float(estimate + ahead),
    )


def leave_one_out(values: npt.ArrayLike) -> FloatArray:
    """Mean of the other values for each of k values: (k,), NaN for a value that is alone; all must be finite."""
    sample = np.asarray(values, dtype=np.float64)
    others = len(sample) - 1
    return (sample.sum() - sample) / others if others > 0 else np.full(len(sample), np.nan)


def family_effects(values: Sequence[float], families: Sequence[str]) -> tuple[list[str], FloatArray, FloatArray]:
    """Families in the order given, the mean of each over its finite values, and the squared error of that mean.

    A family with one finite value has an error of NaN; one with none is left out.
    """
    by_family: dict[str, list[float]] = {}
    for value, family in zip(values, families, strict=True):
        if np.isfinite(value):
            by_family.setdefault(family, []).append(value)
    means = np.array([np.mean(own) for own in by_family.values()], dtype=np.float64)
    squared = [np.var(own, ddof=1) / len(own) if len(own) > 1 else np.nan for own in by_family.values()]
    return list(by_family), means, np.array(squared, dtype=np.float64)


def _paule_mandel(values: FloatArray, errors: FloatArray) -> tuple[float, float, float, float]:
    """Mean effect, its standard error, variance between families, and I²."""
    from statsmodels.stats.meta_analysis import combine_effects

    if is_constant(values):  # nothing between families; statsmodels divides by their heterogeneity, which is 0
        return float(values.mean()), float(np.sqrt(1 / np.sum(1 / errors))), 0.0, 0.0
    # Effects in units of their own size: the search for the variance stops at an absolute tolerance.
    scale = float(np.sqrt(np.mean(errors) + values.var()))
    fit = combine_effects(values / scale, errors / scale**2, method_re="iterated", use_t=False)
    error = max(float(fit.sd_eff_w_re_hksj), float(fit.sd_eff_w_re))
    return (
        float(fit.mean_effect_re) * scale,
        error * scale,
        float(fit.tau2) * scale**2,
        max(0.0, float(fit.i2)),
    )
