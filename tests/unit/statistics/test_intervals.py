"""Intervals against scipy, enumeration, closed forms and their coverage."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.statistics.intervals import (
    bootstrap_intervals,
    cluster_intervals,
    jackknife_intervals,
    t_interval,
    welch_interval,
)

pytestmark = pytest.mark.filterwarnings("error")


def generator():
    return np.random.default_rng(30)


def identity(means):
    return means


def bootstrap(values, clusters=None, method="percentile", resamples=4000, level=0.05, statistic=identity):
    features = np.asarray(values, dtype=float)[:, None]
    (interval,) = bootstrap_intervals(features, statistic, generator(), resamples, level, clusters, method)
    return interval


def test_percentile_interval_reads_the_distribution_of_all_resamples_of_clusters():
    values, clusters = [1.0, 3.0, 10.0, 5.0, 2.0], ["a", "a", "b", "c", "d"]
    members = {name: [v for v, c in zip(values, clusters, strict=True) if c == name] for name in "abcd"}
    means = [np.mean([v for name in drawn for v in members[name]]) for drawn in product("abcd", repeat=4)]
    interval = bootstrap(values, clusters, resamples=50_000, level=0.2)
    assert interval.estimate == np.mean(values)
    assert interval.n == 4
    assert (interval.low, interval.high) == pytest.approx(np.quantile(means, [0.1, 0.9]), abs=0.1)


def test_counts_of_units_give_what_their_values_give():
    """Against the sample of every resample written out, from the same random numbers."""
    values = np.random.default_rng(7).normal(size=17)
    means = values[generator().integers(0, 17, size=(3000, 17))].mean(axis=1)
    interval = bootstrap(values, resamples=3000)
    assert (interval.low, interval.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), rel=1e-12)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_agrees_with_scipy_on_skewed_data(method):
    values = np.random.default_rng(1).lognormal(size=40)
    names = {"percentile": "percentile", "bca": "BCa"}
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, method=names[method], rng=np.random.default_rng(2)
    ).confidence_interval
    interval = bootstrap(values, method=method, resamples=40_000)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=0.02)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_copies_of_a_unit_in_its_cluster_add_nothing(method):
    values = np.random.default_rng(3).normal(size=12)
    copies = bootstrap(np.repeat(values, 5), np.repeat(np.arange(12), 5), method)
    once = bootstrap(values, method=method)
    assert (copies.low, copies.high, copies.n) == (pytest.approx(once.low), pytest.approx(once.high), 12)


def test_clusters_widen_the_interval_of_correlated_units():
    rng = np.random.default_rng(4)
    values = np.repeat(rng.normal(size=10), 12) + 0.1 * rng.normal(size=120)
    apart = bootstrap(values)
    clustered = bootstrap(values, np.repeat(np.arange(10), 12))
    assert clustered.high - clustered.low > 2 * (apart.high - apart.low)


def test_values_that_are_not_finite_are_left_out_of_the_mean():
    rng = np.random.default_rng(5)
    values = rng.normal(size=15)
    with_gaps = bootstrap(np.append(values, [np.nan, np.inf]))
    assert with_gaps == replace(bootstrap(values), reason="units without a finite value, left out: 2")


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_coverage(method):
    # 400 samples share their resamples; the band allows for that and for the known undercoverage at n = 40.
    samples = np.random.default_rng(6).normal(size=(40, 400))
    intervals = bootstrap_intervals(samples, identity, generator(), 2000, 0.1, method=method)
    covered = np.mean([interval.low <= 0 <= interval.high for interval in intervals])
    assert 0.84 <= covered <= 0.94


def test_interval_of_a_ratio_of_means():
    features = np.random.default_rng(7).uniform(1, 2, size=(50, 2))
    (interval,) = bootstrap_intervals(features, lambda m: m[:, :1] / m[:, 1:], generator(), 2000, 0.05)
    expected = scipy.stats.bootstrap(
        (features[:, 0], features[:, 1]),
        lambda x, y, axis: x.mean(axis) / y.mean(axis),
        paired=True,
        vectorized=True,
        rng=np.random.default_rng(8),
    ).confidence_interval
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=0.01)


@pytest.mark.parametrize(
    ("values", "clusters", "ends", "reason"),
    [
        ([], None, (None, None), "no unit has a finite value"),
        ([np.nan, np.nan], None, (None, None), "no unit has a finite value"),
        ([2.0], None, (None, None), "one cluster: nothing to resample"),
        ([2.0, 3.0], ["a", "a"], (None, None), "one cluster: nothing to resample"),
        ([0.1, 0.1, 0.1], None, (0.1, 0.1), "all resamples give the same value"),
    ],
)
@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_of_little_data(values, clusters, ends, reason, method):
    interval = bootstrap(values, clusters, method, resamples=50)
    assert (interval.low, interval.high) == (ends if ends[0] is None else pytest.approx(ends))
    assert interval.reason == reason


def test_undefined_statistics_have_no_interval():
    interval = bootstrap([1.0, 2.0, 4.0], statistic=lambda means: means * np.nan)
    assert (interval.estimate, interval.low, interval.reason) == (None, None, "the statistic is undefined")
    sometimes = bootstrap([1.0, 2.0, 9.0], statistic=lambda means: np.where(means > 8, np.nan, means))
    assert sometimes.low is not None
    assert "undefined in" in sometimes.reason


def test_labels_must_match_units():
    with pytest.raises(ValueError, match="2 cluster labels for 3 units"):
        bootstrap([1.0, 2.0, 3.0], ["a", "b"])


def test_t_interval_of_three_refits():
    interval = t_interval([1.0, 2.0, 3.0], 0.05)
    half = 4.302652729911275 / np.sqrt(3)  # t quantile .975 with two degrees of freedom
    assert (interval.low, interval.estimate, interval.high) == pytest.approx((2 - half, 2, 2 + half))


@settings(deadline=None)
@given(
    st.lists(st.floats(-100, 100), min_size=2, max_size=8),
    st.lists(st.floats(-100, 100), min_size=2, max_size=8),
)
def test_t_and_welch_intervals_agree_with_scipy(first, second):
    for sample in (first, second):
        if np.std(sample) > 1e-6:
            expected = scipy.stats.ttest_1samp(sample, 0).confidence_interval(0.9)
            found = t_interval(sample, 0.1)
            assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-9)
    if min(np.std(first), np.std(second)) > 1e-6:
        expected = scipy.stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
        found = welch_interval(first, second, 0.1)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-9)


def test_t_and_welch_intervals_of_little_data():
    assert t_interval([], 0.05).reason == "no unit has a finite value"
    assert t_interval([3.0, np.nan], 0.05).estimate == 3.0
    assert t_interval([3.0], 0.05).reason == "one unit"
    constant = t_interval([0.3, 0.3, 0.3], 0.05)
    assert (constant.low, constant.high, constant.reason) == (0.3, 0.3, "all values are equal")
    assert welch_interval([], [1.0, 2.0], 0.05).estimate is None
    assert welch_interval([4.0], [1.0, 2.0], 0.05).reason == "a sample of one unit"
    assert welch_interval([4.0], [1.0, 2.0], 0.05).estimate == 2.5
    equal = welch_interval([2.0, 2.0], [1.0, 1.0], 0.05)
    assert (equal.low, equal.high) == (1.0, 1.0)


def test_intervals_print_as_sentences():
    assert str(t_interval([1.0, 2.0, 3.0], 0.05)) == "2, 95 % interval -0.4841 to 4.484 (Student's t, n = 3)."
    assert str(t_interval([1.0], 0.05)) == "No interval (Student's t, n = 1): one unit."


def test_studentised_interval_from_its_definition():
    values = np.random.default_rng(9).exponential(size=8)
    interval = bootstrap(values, method="studentised", resamples=20_000, level=0.1)
    rng = np.random.default_rng(10)
    deviations = []
    for _ in range(20_000):
        drawn = rng.choice(values, 8)
        if drawn.std() > 0:
            deviations.append((drawn.mean() - values.mean()) / (drawn.std(ddof=1) / np.sqrt(8)))
    error = values.std(ddof=1) / np.sqrt(8)
    low, high = values.mean() - error * np.quantile(deviations, [0.95, 0.05])
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.05)


def test_jackknife_interval_of_a_mean_is_students():
    values = np.random.default_rng(11).normal(size=9)
    (interval,) = jackknife_intervals(values[:, None], identity, 0.05)
    expected = t_interval(values, 0.05)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_jackknife_error_of_a_ratio_over_clusters():
    rng = np.random.default_rng(12)
    features, clusters = rng.uniform(1, 2, size=(20, 2)), np.repeat(np.arange(5), 4)
    (interval,) = jackknife_intervals(features, lambda m: m[:, :1] / m[:, 1:], 0.05, clusters.tolist())
    without = [
        features[clusters != c, 0].mean() / features[clusters != c, 1].mean() for c in range(5)
    ]  # fmt: skip
    error = np.sqrt(4 / 5 * np.sum((without - np.mean(without)) ** 2))
    half = scipy.stats.t.ppf(0.975, 4) * error
    ratio = features[:, 0].mean() / features[:, 1].mean()
    assert (interval.low, interval.high) == pytest.approx((ratio - half, ratio + half))


def test_few_clusters_take_the_jackknife_many_the_bootstrap():
    values = np.random.default_rng(13).normal(size=(120, 1))
    domains = np.repeat(np.arange(6), 20).tolist()
    (few,) = cluster_intervals(values, identity, generator(), 200, 0.05, domains)
    (many,) = cluster_intervals(values, identity, generator(), 200, 0.05)
    assert (few.method, few.n) == ("Student's t with the jackknife error", 6)
    assert (many.method, many.n) == ("BCa bootstrap, 200 resamples", 120)


def test_intervals_of_six_domains_cover_as_they_say():
    rng = np.random.default_rng(14)
    domains = np.repeat(np.arange(6), 20)
    samples = 0.4 * rng.normal(size=(6, 1000))[domains] + rng.normal(size=(120, 1000))
    intervals = cluster_intervals(samples, identity, rng, 200, 0.05, domains.tolist())
    covered = sum(interval.low <= 0 <= interval.high for interval in intervals)
    low, high = scipy.stats.binom.interval(1 - 1e-4, 1000, 0.95)
    assert low <= covered <= high


@pytest.mark.parametrize(
    ("values", "clusters", "ends", "reason"),
    [
        ([], None, (None, None), "no unit has a finite value"),
        ([2.0], None, (None, None), "one cluster: "),
        ([2.0, 3.0], ["a", "a"], (None, None), "one cluster: "),
        ([0.1, 0.1, 0.1], None, (0.1, 0.1), "the same"),
    ],
)
def test_studentised_and_jackknife_of_little_data(values, clusters, ends, reason):
    features = np.asarray(values, dtype=float)[:, None]
    (jackknife,) = jackknife_intervals(features, identity, 0.05, clusters)
    for interval in (jackknife, bootstrap(values, clusters, "studentised", resamples=50)):
        assert (interval.low, interval.high) == (ends if ends[0] is None else pytest.approx(ends))
        assert reason in interval.reason


def test_a_statistic_that_needs_all_clusters_has_no_jackknife():
    (interval,) = jackknife_intervals(
        np.array([[1.0, np.nan], [2.0, 5.0], [3.0, np.nan]]), lambda means: means[:, 1:], 0.05
    )
    assert (interval.estimate, interval.low) == (5.0, None)
    (needs_all,) = jackknife_intervals(np.array([[1.0], [2.0]]), lambda m: np.where(m == 1.5, m, np.nan), 0.05)
    assert needs_all.reason == "the statistic is undefined without one of the clusters"
