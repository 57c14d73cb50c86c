"""How many units a test needs, against statsmodels and simulation."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower

from headwise.statistics.power import pooled_deviation, power_to_detect, units_for_equivalence, units_to_detect


@pytest.mark.parametrize(("effect", "level"), [(0.5, 0.05), (1.2, 0.05), (0.3, 0.01), (2.0, 0.0125)])
def test_units_to_detect_are_those_of_statsmodels(effect: float, level: float) -> None:
    one = TTestPower().solve_power(effect_size=effect, alpha=level, power=0.8, alternative="two-sided")
    two = TTestIndPower().solve_power(effect_size=effect, alpha=level, power=0.8, alternative="two-sided")
    assert units_to_detect(effect, 1.0, level) == int(np.ceil(one))
    assert units_to_detect(-3 * effect, 3.0, level, samples=2) == int(np.ceil(two))


@pytest.mark.parametrize(("effect", "level"), [(0.5, 0.05), (1.2, 0.0125), (-0.9, 0.05)])
def test_power_is_that_of_statsmodels(effect: float, level: float) -> None:
    sided = TTestPower().power(abs(effect), nobs=9, alpha=level / 2, alternative="larger")
    assert power_to_detect(2 * effect, 2.0, [9], level) == pytest.approx(sided)
    two = TTestIndPower().power(abs(effect), nobs1=5, ratio=8 / 5, alpha=level / 2, alternative="larger")
    assert power_to_detect(effect, 1.0, [5, 8], level) == pytest.approx(two)


def test_the_pooled_deviation_is_that_of_deviations_from_the_means_of_samples() -> None:
    one, two = np.array([1.0, 2.0, 6.0]), np.array([10.0, 14.0])
    deviations = np.concatenate([one - 3, two - 12])
    assert pooled_deviation([one, two]) == pytest.approx(np.sqrt(np.sum(deviations**2) / 3))
    assert pooled_deviation([np.append(one, np.nan)]) == pytest.approx(np.std(one, ddof=1))
    assert np.isnan(pooled_deviation([np.array([1.0])]))
    assert power_to_detect(1.0, 1.0, [1], 0.05) == 0


def test_units_for_equivalence_show_it_four_times_in_five() -> None:
    n = units_for_equivalence(0.013, 0.0175, 0.05)
    assert n is not None
    generator = np.random.default_rng(11)
    shares = []
    for units in (n - 2, n):
        sample = generator.normal(0, 0.0175, (4000, units))
        half = stats.t.isf(0.05, units - 1) * stats.sem(sample, axis=1)
        shares.append(np.mean(np.abs(sample.mean(axis=1)) + half < 0.013))
    assert shares[0] < 0.8 + 0.02
    assert shares[1] > 0.8 - 0.02


def test_nothing_is_needed_where_nothing_varies_and_nothing_helps_where_nothing_is() -> None:
    assert units_to_detect(0.0, 1.0, 0.05) is None
    assert units_to_detect(0.1, 0.0, 0.05) == 2
    assert units_to_detect(1e-6, 1.0, 0.05) is None
    assert units_for_equivalence(0.1, 0.0, 0.05) == 2
