"""The ROC area against scipy, plain loops, and its coverage."""

from itertools import product

import numpy as np
import pytest
import scipy.stats

from headwise.statistics.roc import delong_variance, roc_area

pytestmark = pytest.mark.filterwarnings("error")


def generator():
    return np.random.default_rng(12)


def area(positive, negative, **settings):
    return roc_area(positive, negative, generator(), **{"resamples": 2000, "level": 0.05, **settings})


def test_area_and_p_are_those_of_the_wilcoxon_test():
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(0.8, 1, 7), rng.normal(size=6)
    expected = scipy.stats.mannwhitneyu(positive, negative, method="exact")
    result = area(positive, negative)
    assert result.estimate == pytest.approx(expected.statistic / 42)
    assert result.p == pytest.approx(expected.pvalue)
    assert (result.n, result.n_reference) == (7, 6)


def test_ties_count_one_half():
    positive, negative = [1, 2, 2, 5], [2, 0, 5]
    wins = [(p > n) + 0.5 * (p == n) for p, n in product(positive, negative)]
    assert area(positive, negative).estimate == pytest.approx(np.mean(wins))


def test_delong_variance_from_its_definition():
    rng = np.random.default_rng(2)
    positive, negative = rng.integers(0, 9, 8), rng.integers(0, 7, 5)
    wins = np.array([[(p > n) + 0.5 * (p == n) for n in negative] for p in positive])
    total = 0.0
    for m in (8, 5):
        placed = [wins[i].mean() if m == 8 else wins[:, i].mean() for i in range(m)]
        total += sum((value - wins.mean()) ** 2 for value in placed) / (m - 1) / m
    assert delong_variance(wins) == pytest.approx(total)


@pytest.mark.parametrize("method", ["delong", "bootstrap"])
def test_coverage(method):
    truth = scipy.stats.norm.cdf(1 / np.sqrt(2))
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(300):
        result = roc_area(rng.normal(1, 1, 25), rng.normal(size=25), rng, 200, 0.1, method)
        covered.append(result.low <= truth <= result.high)
    assert 0.84 <= np.mean(covered) <= 0.96


def test_both_intervals_agree_on_many_units():
    rng = np.random.default_rng(4)
    positive, negative = rng.normal(0.5, 1, 200), rng.normal(size=150)
    delong, bootstrap = area(positive, negative), area(positive, negative, method="bootstrap")
    assert (delong.low, delong.high) == pytest.approx((bootstrap.low, bootstrap.high), abs=0.01)


@pytest.mark.parametrize("method", ["delong", "bootstrap"])
@pytest.mark.parametrize(
    ("positive", "negative", "estimate", "reason"),
    [
        ([], [], None, "both groups have no unit with a finite value"),
        ([], [1.0], None, "the positive group has no unit with a finite value"),
        ([2.0], [np.nan], None, "left out: 1; the negative group has no unit with a finite value"),
        ([3.0, 4.0], [1.0, 2.0], 1.0, "the groups do not overlap: no standard error, so no interval"),
    ],
)
def test_little_data(positive, negative, estimate, reason, method):
    result = area(positive, negative, method=method)
    assert (result.estimate, result.low, result.high) == (estimate, None, None)
    assert reason in result.reason


def test_constant_scores_discriminate_nothing():
    result = area([1.0, 1.0, 1.0], [1.0, 1.0])
    assert (result.estimate, result.p, result.low) == (0.5, 1.0, None)
    assert "every unit is placed alike" in result.reason


def test_prints_as_a_sentence():
    assert str(area([3.0, 4.0], [1.0, 2.0])) == (
        "ROC area 1, p = 0.333 (smallest attainable 0.333) (DeLong's interval on the logit scale; two-sided two-sample "
        "permutation test, exact over 6 splits, n = 2 against 2): the groups do not overlap: no standard error, "
        "so no interval."
    )
    assert str(area([], [1.0])).startswith(
        "ROC area is undefined (DeLong's interval on the logit scale, n = 0 against 1)"
    )
