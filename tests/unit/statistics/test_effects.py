"""Random effects against closed forms, another implementation's equations, and their coverage."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from headwise.statistics.effects import family_effects, leave_one_out, random_effects
from headwise.statistics.intervals import t_interval

pytestmark = pytest.mark.filterwarnings("error")

EFFECTS = np.array([0.1, 0.3, 0.2, 0.9])
VARIANCES = np.array([0.01, 0.02, 0.01, 0.03])
ERRORS = np.sqrt(VARIANCES)


def test_solves_the_equations_of_paule_mandel_and_hartung_knapp():
    def excess(tau_squared):
        weights = 1 / (VARIANCES + tau_squared)
        mean = np.sum(weights * EFFECTS) / weights.sum()
        return np.sum(weights * (EFFECTS - mean) ** 2) - 3

    tau_squared = scipy.optimize.brentq(excess, 0, 10)
    weights = 1 / (VARIANCES + tau_squared)
    mean = np.sum(weights * EFFECTS) / weights.sum()
    error = np.sqrt(max(1, np.sum(weights * (EFFECTS - mean) ** 2) / 3) / weights.sum())
    found = random_effects(EFFECTS, ERRORS, 0.05)
    half = scipy.stats.t.ppf(0.975, 3) * error
    ahead = scipy.stats.t.ppf(0.975, 2) * np.sqrt(tau_squared + error**2)
    assert found.estimate == pytest.approx(mean, rel=1e-4)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half), rel=1e-4)
    assert (found.prediction_low, found.prediction_high) == pytest.approx((mean - ahead, mean + ahead), rel=1e-4)
    assert found.tau == pytest.approx(np.sqrt(tau_squared), rel=1e-4)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(mean / error, 3), rel=1e-3)


def test_equal_errors_give_students_t():
    found = random_effects(EFFECTS, np.full(4, 1e-2), 0.05)
    expected = t_interval(EFFECTS, 0.05)
    assert (found.estimate, found.low) == (pytest.approx(expected.estimate), pytest.approx(expected.low, rel=1e-5))


def test_units_do_not_matter():
    found, scaled = random_effects(EFFECTS, ERRORS, 0.05), random_effects(EFFECTS / 1e5, ERRORS / 1e5, 0.05)
    assert (scaled.low * 1e5, scaled.p, scaled.tau * 1e5) == pytest.approx((found.low, found.p, found.tau), rel=1e-6)


def test_families_without_an_error_count_alike():
    found = random_effects(EFFECTS, [0.1, np.nan, 0.1, 0.17], 0.05)
    expected = t_interval(EFFECTS, 0.05)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    # The prediction interval of one further value of a normal sample.
    half = scipy.stats.t.ppf(0.975, 3) * EFFECTS.std(ddof=1) * np.sqrt(1 + 1 / 4)
    assert found.prediction_high == pytest.approx(EFFECTS.mean() + half)
    assert "a family without a standard error" in found.reason


def test_intervals_cover_the_mean_and_a_further_family():
    rng = np.random.default_rng(5)
    covered, ahead = [], []
    for _ in range(800):
        families = rng.normal(0.3, 0.2, size=7)
        refits = families[:6, None] + rng.normal(0, 0.1, size=(6, 5))
        found = random_effects(refits.mean(axis=1), refits.std(axis=1, ddof=1) / np.sqrt(5), 0.05)
        covered.append(found.low <= 0.3 <= found.high)
        ahead.append(found.prediction_low <= families[6] <= found.prediction_high)
    assert 0.93 <= np.mean(covered) <= 0.985
    assert 0.93 <= np.mean(ahead) <= 0.985


@pytest.mark.parametrize(
    ("effects", "errors", "estimate", "reason"),
    [
        ([], [], None, "no family has a finite effect"),
        ([np.nan], [1.0], None, "families without a finite effect, left out: 1; no family has a finite effect"),
        ([0.2], [1.0], 0.2, "one family"),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 0.0, "all effects are equal"),
    ],
)
def test_little_data(effects, errors, estimate, reason):
    found = random_effects(effects, errors, 0.05)
    assert (found.estimate, found.low, found.p) == (estimate, None, None)
    assert found.reason.endswith(reason)


def test_two_families_have_no_prediction_interval():
    found = random_effects([0.1, 0.4], [0.1, 0.1], 0.05)
    assert (found.prediction_low, found.reason) == (None, "two families: no prediction interval")
    assert found.low < 0.25 < found.high


def test_leaving_one_out():
    values = [1.0, 4.0, 7.0]
    assert leave_one_out(values).tolist() == [5.5, 4.0, 2.5]
    assert np.isnan(leave_one_out([3.0])).all()
    assert leave_one_out([]).tolist() == []


def test_effects_of_families():
    names, means, errors = family_effects([1.0, 3.0, np.nan, 5.0, np.nan], ["b", "b", "b", "a", "c"])
    assert (names, means.tolist()) == (["b", "a"], [2.0, 5.0])
    assert errors[0] == pytest.approx(1.0)
    assert np.isnan(errors[1])


def test_prints_as_a_sentence():
    text = str(random_effects([0.1, 0.2, 0.3], [0.1, 0.1, 0.1], 0.05))
    assert text.startswith("Mean effect over families 0.2, 95 % interval -0.048")
    assert "A further family is expected at" in text
