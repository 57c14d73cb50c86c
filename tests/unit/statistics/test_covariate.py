"""Differences at one covariate against least squares of statsmodels, and what they are for."""

import numpy as np
import pytest
import statsmodels.api as sm

from headwise.statistics.covariate import difference_at_equal


def drawn(difference: float = 0.02, slope: float = -0.3, apart: float = 0.1) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(4)
    covariates = [4 + shift + 0.05 * rng.normal(size=size) for shift, size in ((apart, 6), (0.0, 5))]
    outcomes = [
        1 + shift + slope * own + 0.002 * rng.normal(size=len(own))
        for shift, own in zip((difference, 0.0), covariates, strict=True)
    ]
    return (*outcomes, *covariates)


def test_it_is_least_squares_with_a_common_slope() -> None:
    first, second, of_first, of_second = drawn()
    found = difference_at_equal(first, second, of_first, of_second, 0.05)
    design = np.column_stack([np.ones(11), np.repeat([1.0, 0.0], [6, 5]), np.concatenate([of_first, of_second])])
    fitted = sm.OLS(np.concatenate([first, second]), design).fit()
    assert found.estimate == pytest.approx(fitted.params[1])
    assert (found.low, found.high) == pytest.approx(tuple(fitted.conf_int(0.05)[1]))
    assert found.n == 11


def test_a_difference_that_is_the_covariates_alone_is_none_at_equal_covariate() -> None:
    first, second, of_first, of_second = drawn(difference=0.0)
    found = difference_at_equal(first, second, of_first, of_second, 0.05)
    assert abs(first.mean() - second.mean()) > 0.02
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high
    assert found.high - found.low < 0.02


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (([1.0], [2.0], [3.0], [4.0]), "too few units"),
        (([1.0, 2.0], [2.0, 1.0], [3.0, 3.0], [4.0, 4.0]), "does not vary"),
        (([1.0, np.nan], [2.0, 1.0], [3.0, 3.5], [4.0, 4.1]), "too few units"),
    ],
)
def test_without_a_slope_there_is_no_interval(samples: tuple[list[float], ...], reason: str) -> None:
    found = difference_at_equal(*samples, 0.05)
    assert found.estimate is found.low is found.high is None
    assert reason in str(found.reason)
