"""Kaplan–Meier and restricted means against plain loops, closed forms, statsmodels and their coverage."""

from itertools import combinations

import numpy as np
import pytest
from statsmodels.duration.survfunc import survdiff

from headwise.statistics.intervals import t_interval
from headwise.statistics.survival import kaplan_meier, logrank_scores, restricted_mean, restricted_mean_difference

pytestmark = pytest.mark.filterwarnings("error")

TIMES = np.array([3.0, 3.0, 5.0, 6.0, 7.0, 9.0, 9.0])
HAPPENED = np.array([True, False, True, False, True, True, False])


def survival_by_hand(times, happened):
    share, steps = 1.0, {}
    for moment in sorted(set(times[happened])):
        at_risk = sum(time >= moment for time in times)
        share *= 1 - sum((times == moment) & happened) / at_risk
        steps[float(moment)] = share
    return steps


def test_curve_from_the_definition():
    curve = kaplan_meier(TIMES, HAPPENED, 0.05)
    assert dict(zip(curve.times.tolist(), curve.survival, strict=True)) == pytest.approx(
        survival_by_hand(TIMES, HAPPENED)
    )
    assert (curve.n, curve.followed, curve.at_risk.tolist()) == (7, 9.0, [7, 5, 3, 2])
    assert np.all((curve.low < curve.survival) & (curve.survival < curve.high))


def test_restricted_mean_is_the_area_under_the_curve():
    steps = survival_by_hand(TIMES, HAPPENED)
    grid = np.linspace(0, 8, 80_001)[:-1]
    heights = [1.0 if time < 3 else steps[max(step for step in steps if step <= time)] for time in grid]
    assert restricted_mean(TIMES, HAPPENED, 8, 0.05).estimate == pytest.approx(8 * np.mean(heights), abs=1e-3)


def test_without_censoring_it_is_the_mean_with_its_standard_error():
    times = np.random.default_rng(1).exponential(10, size=30)
    result = restricted_mean(times, np.ones(30, dtype=bool), times.max() + 1, 0.05)
    assert result.estimate == pytest.approx(times.mean())
    expected = t_interval(times, 0.05)
    assert (result.low, result.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_coverage_under_censoring():
    rng = np.random.default_rng(2)
    truth = 10 * (1 - np.exp(-0.5))
    covered = []
    for _ in range(600):
        times, censored = rng.exponential(10, 40), rng.uniform(0, 20, 40)
        result = restricted_mean(np.minimum(times, censored), times <= censored, 5, 0.1)
        covered.append(result.low <= truth <= result.high)
    assert 0.85 <= np.mean(covered) <= 0.94


def test_logrank_scores_sum_to_what_statsmodels_calls_observed_minus_expected():
    rng = np.random.default_rng(3)
    times, happened = rng.integers(1, 8, 30).astype(float), rng.random(30) < 0.7
    group = np.repeat([0, 1], 15)
    scores = logrank_scores(times, happened)
    assert scores.sum() == pytest.approx(0, abs=1e-12)
    moments = np.unique(times[happened])
    expected = sum(
        happened[times == moment].sum() * np.mean(group[times >= moment] == 0) for moment in moments
    )  # fmt: skip
    assert scores[group == 0].sum() == pytest.approx(happened[group == 0].sum() - expected)
    # The asymptotic test is near: the permutation test has the same numerator.
    both = [(times[group == each], happened[group == each]) for each in (0, 1)]
    found = restricted_mean_difference(*both, 8, rng, 20_000, 0.05)
    assert found.p == pytest.approx(survdiff(times, happened, group)[1], abs=0.08)


def test_permutation_test_by_enumeration():
    one, other = ([2.0, 4.0, 9.0], [True, True, False]), ([5.0, 6.0, 9.0, 9.0], [True, True, False, False])
    times, happened = np.array(one[0] + other[0]), np.array(one[1] + other[1])
    scores = logrank_scores(times, happened)
    observed = abs(scores[:3].sum())
    splits = [abs(scores[list(chosen)].sum()) for chosen in combinations(range(7), 3)]
    expected = np.mean([value >= observed - 1e-9 for value in splits])
    result = restricted_mean_difference(one, other, 9, np.random.default_rng(4), 99, 0.05)
    assert result.p == pytest.approx(expected)
    assert result.p_attainable == pytest.approx(1 / 35)
    assert result.estimate == pytest.approx(
        restricted_mean(*one, 9, 0.05).estimate - restricted_mean(*other, 9, 0.05).estimate
    )
    assert result.low < result.estimate < result.high


@pytest.mark.parametrize(
    ("times", "happened", "estimate", "reason"),
    [
        ([], [], None, "there are no units"),
        ([np.nan], [True], None, "units without a finite time, left out: 1; there are no units"),
        ([50, 50], [False, False], 50, "no event happened; no event before 50: no standard error"),
        ([10, 20], [True, False], None, "nobody was followed to 50, and 20 is as far as the curve goes"),
        ([10, 10], [True, True], 10, "all events happened at once: no standard error"),
        ([10], [True], 10, "one event before the horizon: no standard error"),
    ],
)
def test_little_data(times, happened, estimate, reason):
    result = restricted_mean(times, happened, 50, 0.05)
    assert (result.estimate, result.low, result.high, result.reason) == (estimate, None, None, reason)


def test_groups_without_events_are_not_tested():
    censored = ([50.0, 50.0], [False, False])
    result = restricted_mean_difference(censored, censored, 50, np.random.default_rng(5), 99, 0.05)
    assert (result.estimate, result.p, result.low) == (0, None, None)
    assert "no event happened" in result.reason


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="times are not negative"):
        kaplan_meier([-1.0], [True], 0.05)
    with pytest.raises(ValueError, match="2 times for 1 events"):
        kaplan_meier([1.0, 2.0], [True], 0.05)
    with pytest.raises(ValueError, match="give a positive time"):
        restricted_mean([1.0], [True], 0, 0.05)


def test_prints_as_a_sentence():
    assert str(kaplan_meier([10, 20, 50], [True, True, False], 0.05)) == (
        "2 of 3 units have the event; 33.3 % remain after time 20 (Kaplan–Meier, log-log intervals, n = 3)."
    )
    assert str(restricted_mean([10, 20, 50], [True, True, False], 50, 0.05)) == (
        "Restricted mean time 26.67, 95 % interval 0 to 50 (area under Kaplan–Meier up to 50, Greenwood's "
        "standard error, n = 3)."
    )
