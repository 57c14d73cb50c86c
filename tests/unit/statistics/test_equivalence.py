"""Equivalence tests against statsmodels, and their level at the margin."""

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from statsmodels.stats.weightstats import DescrStatsW

from headwise.statistics.equivalence import equivalence
from headwise.statistics.intervals import t_interval

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.19, 0.6])
def test_agrees_with_statsmodels(shift):
    differences = shift + np.random.default_rng(1).normal(size=25)
    expected = DescrStatsW(differences).ttost_mean(-0.4, 0.4)[0]
    assert equivalence(differences, 0.4).p == pytest.approx(expected, rel=1e-9)


def test_clustered_standard_error_agrees_with_statsmodels():
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(9), [3, 1, 8, 2, 5, 4, 4, 7, 6])
    differences = 0.1 + rng.normal(size=9)[clusters] + rng.normal(size=len(clusters))
    fit = sm.OLS(differences, np.ones(len(clusters))).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    error = fit.bse[0]
    expected = scipy.stats.t.sf((0.9 - abs(differences.mean())) / error, 8)
    assert equivalence(differences, 0.9, clusters.tolist()).p == pytest.approx(expected, rel=1e-9)


def test_significance_says_the_same_as_the_interval():
    rng = np.random.default_rng(3)
    for differences in rng.normal(0.2, 0.5, size=(200, 12)):
        interval = t_interval(differences, 0.1)
        inside = max(-interval.low, interval.high) < 0.45
        assert (equivalence(differences, 0.45).p < 0.05) == inside


def test_keeps_its_level_where_the_change_is_just_at_the_margin():
    samples = np.random.default_rng(4).normal(0.5, 1, size=(2000, 30))
    rejected = sum(equivalence(sample, 0.5).p <= 0.05 for sample in samples)
    low, high = scipy.stats.binom.interval(1 - 1e-4, 2000, 0.05)
    assert low <= rejected <= high


@pytest.mark.parametrize(
    ("differences", "clusters", "p", "reason"),
    [
        ([], None, None, "no difference is finite"),
        ([0.1], None, None, "one unit: no standard error"),
        (
            [0.1, 0.2, np.nan],
            ["a", "a", "b"],
            None,
            "units without a finite value, left out: 1; one cluster: no standard error",
        ),
        ([0.0] * 4, None, 0.0, "all differences are equal: no sampling error"),
        ([0.1, 0.1, 0.1], None, 1.0, "all differences are equal: no sampling error"),
        (
            [0.0, 0.02, 0.0, 0.02],
            ["a", "a", "b", "b"],
            None,
            "all clusters have the same mean: no standard error",
        ),
    ],
)
def test_little_data(differences, clusters, p, reason):
    test = equivalence(differences, 0.05, clusters)
    assert (test.p, test.reason) == (p, reason)


def test_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match="margin is 0"):
        equivalence([0.1, 0.2], 0)
    with pytest.raises(ValueError, match="1 cluster labels for 2 differences"):
        equivalence([0.1, 0.2], 1, ["a"])


def test_prints_as_a_sentence():
    assert str(equivalence([0.0, 0.0], 0.02)) == (
        "Difference 0 within ±0.02: p = 0 (two one-sided t tests, n = 2): all differences are equal: no sampling error."
    )
