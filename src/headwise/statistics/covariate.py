"""The difference of two samples at one value of a covariate: analysis of covariance with a common slope."""

import numpy as np
import numpy.typing as npt

from headwise.statistics.intervals import Interval
from headwise.statistics.ties import is_constant
from headwise.statistics.values import numbers

WORDS = "Student's t, analysis of covariance"


def difference_at_equal(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    first_covariate: npt.ArrayLike,
    second_covariate: npt.ArrayLike,
    level: float,
) -> Interval:
    """Interval of the difference, first minus second, between units with the same covariate (Fisher 1932, chapter 8).

    first, second  (n,) and (m,) one number per unit, and their covariates of the same lengths; units of which either is
                   not finite are left out

    Residuals are taken as normal with one variance, and both samples have one slope: n + m − 3 degrees of freedom.
    Known failure: where the samples have no covariate in common, it rests on the slope alone.
    """
    from scipy.special import stdtrit

    outcomes, covariates, sizes = [], [], []
    for values, covariate in ((first, first_covariate), (second, second_covariate)):
        own = np.stack([numbers(values, "values"), numbers(covariate, "covariate")])
        own = own[:, np.isfinite(own).all(axis=0)]
        outcomes.append(own[0])
        covariates.append(own[1])
        sizes.append(own.shape[1])
    total = sum(sizes)
    if min(sizes) < 1 or total < 4:
        return Interval(None, None, None, level, total, WORDS, "too few units for a slope")
    within = np.concatenate([covariate - covariate.mean() for covariate in covariates])
    deviations = np.concatenate([outcome - outcome.mean() for outcome in outcomes])
    if all(is_constant(covariate) for covariate in covariates):
        return Interval(None, None, None, level, total, WORDS, "the covariate does not vary within either sample")
    squares = float(within @ within)
    slope = float(within @ deviations) / squares
    apart = covariates[0].mean() - covariates[1].mean()
    estimate = float(outcomes[0].mean() - outcomes[1].mean() - slope * apart)
    residuals = deviations - slope * within
    variance = float(residuals @ residuals) / (total - 3)
    error = np.sqrt(variance * (1 / sizes[0] + 1 / sizes[1] + apart**2 / squares))
    reach = float(stdtrit(total - 3, 1 - level / 2) * error)
    return Interval(estimate, estimate - reach, estimate + reach, level, total, WORDS)
