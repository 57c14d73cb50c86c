"""Areas and ratios: closed forms, and what is said of a ratio to nothing."""

import math

import numpy as np
import pytest

from headwise.analyses.noise.sensitivity import area, contrast, slope


def rng():
    return np.random.default_rng(5)


def test_area_is_that_of_the_broken_line_from_zero():
    assert area([1.0], [4.0]) == 2.0
    assert area([2.0, 1.0], [4.0, 1.0]) == pytest.approx(0.5 + 2.5)
    # A parabola on a fine grid.
    sigmas = np.linspace(0.001, 1, 1000)
    assert area(sigmas, sigmas**2) == pytest.approx(1 / 3, abs=1e-5)
    assert math.isnan(area([1.0, 2.0], [1.0, math.nan]))


def test_slope_is_that_of_least_squares():
    sigmas, values = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2], [2.35, 2.83, 18.19, 56.98, 11.2, 43.75]
    assert slope(sigmas, values) == pytest.approx(np.polyfit(sigmas, values, 1)[0])
    # The published curve of Llama-2 at seed 123, rounded to two decimals, and its published slope.
    assert slope(sigmas, values) == pytest.approx(156.96, rel=1e-3)
    assert slope([0.1], [2.0]) is None
    assert slope([0.1, 0.1], [2.0, 3.0]) is None
    assert slope([0.1, 0.2], [2.0, math.inf]) is None


def test_ratios_of_proportional_areas_are_the_factor():
    reference = {1: 1.0, 2: 1.1, 3: 0.95}
    found = contrast({seed: 3 * value for seed, value in reference.items()}, reference, rng(), 999, 0.05)
    for ratio in (found.ratio_of_means, found.median_of_ratios, found.geometric_mean, math.exp(found.log_ratio)):
        assert ratio == pytest.approx(3)
    assert found.log_low < math.log(3) < found.log_high
    assert found.geometric_low < 3 < found.geometric_high
    assert (found.verdict, found.why_unbounded) == ("ratio", None)


def test_scale_changes_no_ratio_interval_or_p():
    group, reference = {1: 2.0, 2: 2.5, 3: 2.2}, {1: 1.0, 2: 1.4, 3: 1.2}
    one = contrast(group, reference, rng(), 999, 0.05)
    other = contrast({k: 7 * v for k, v in group.items()}, {k: 7 * v for k, v in reference.items()}, rng(), 999, 0.05)
    for name in ("ratio_of_means", "geometric_mean", "log_low", "log_high", "geometric_low", "p"):
        assert getattr(one, name) == pytest.approx(getattr(other, name))


def test_equal_groups_have_ratio_one_and_nothing_to_test():
    areas = {1: 1.0, 2: 1.2, 3: 1.1}
    found = contrast(areas, areas, rng(), 999, 0.05)
    assert (found.ratio_of_means, found.median_of_ratios, found.p) == (1.0, 1.0, 1.0)


def test_areas_that_are_not_positive_have_no_geometric_mean():
    found = contrast({1: -1.0, 2: 2.0, 3: 3.0}, {1: 1.0, 2: 1.1, 3: 1.2}, rng(), 999, 0.05)
    assert found.geometric_mean is None
    assert found.ratio_of_means == pytest.approx(4 / 3.3)
    assert "of areas" in found.method


def test_what_is_not_finite_is_left_out_and_counted():
    found = contrast({1: math.nan, 2: 2.0, 3: 2.2}, {1: 1.0, 2: 1.1, 3: 1.2}, rng(), 999, 0.05)
    assert (found.n, found.n_reference) == (2, 3)
    assert "units without a finite area, left out: 1" in found.reason
    assert found.median_of_ratios is None
    nothing = contrast({1: math.nan}, {1: 1.0}, rng(), 999, 0.05)
    assert (nothing.verdict, nothing.n, nothing.n_reference) == ("undefined", 0, 1)
    assert nothing.reason == "units without a finite area, left out: 1; the model has no unit with a finite area"


def test_areas_that_are_positive_are_told_from_zero_on_the_log_scale():
    # The interval of their mean, 73 ± 184, holds 0; nobody expects an area below 0.
    group, reference = {1: 160.0, 2: 1500.0, 3: 460.0}, {1: 16.73, 2: 156.96, 3: 46.35}
    found = contrast(group, reference, rng(), 99, 0.05)
    assert found.verdict == "ratio"
    assert found.ratio_of_means == pytest.approx(9.63, abs=0.005)
    assert found.geometric_low < found.geometric_mean < found.geometric_high
    falls = contrast(group, reference | {3: -46.35}, rng(), 99, 0.05)
    assert falls.verdict == "unbounded"
    assert falls.why_unbounded.startswith("the reference's 42.45 is indistinguishable from 0 (95 % interval -")


def test_a_ratio_to_what_cancels_is_no_number():
    # The sum of 0.1, 0.2 and -0.3 is 3e-17.
    found = contrast({1: 1.0, 2: 2.0, 3: 3.0}, {1: 0.1, 2: 0.2, 3: -0.3}, rng(), 99, 0.05)
    assert (found.ratio_of_means, found.log_ratio) == (None, None)
    assert found.verdict == "unbounded"


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_ratios_at_the_ends_of_the_range_of_numbers(scale):
    group, reference = {1: 2.0, 2: 2.5, 3: 2.2}, {1: 1.0, 2: 1.4, 3: 1.2}
    plain = contrast(group, reference, rng(), 99, 0.05)
    found = contrast(*({k: v * scale for k, v in each.items()} for each in (group, reference)), rng(), 99, 0.05)
    for name in ("ratio_of_means", "geometric_low", "geometric_high", "log_low", "median_of_ratios", "p"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name))
    beyond = contrast({1: 1e300, 2: 2e300}, {1: 1e-300, 2: 2e-300}, rng(), 99, 0.05)
    assert (beyond.ratio_of_means, beyond.geometric_mean, beyond.median_of_ratios) == (None, None, None)


def test_equal_doses_have_no_slope_whatever_their_digits():
    assert slope([0.1, 0.1, 0.1], [1.0, 2.0, 3.0]) is None
    assert slope([0.3, 0.1 + 0.2], [1.0, 2.0]) is None
    assert slope([1e-200, 2e-200], [1.0, 2.0]) == pytest.approx(1e200)
    assert slope([1e-200, 2e-200], [1e200, 2e200]) is None
    assert slope([1.0, 2.0], [1e300, 2e300]) == pytest.approx(1e300)


def test_one_unit_of_the_reference_bounds_nothing():
    found = contrast({1: 2.0, 2: 2.5}, {1: 1.0}, rng(), 999, 0.05)
    assert found.verdict == "unbounded"
    assert found.why_unbounded == "one unit of the reference does not tell its area from 0"
    assert found.ratio_of_means == 2.25


@pytest.mark.parametrize("units", [3, 20])
def test_the_permutation_test_keeps_its_level_on_exchangeable_areas(units):
    draws = np.random.default_rng(1)
    rejected = 0
    for _ in range(200):
        one, two = draws.lognormal(size=(2, units))
        found = contrast(dict(enumerate(one)), dict(enumerate(two)), draws, 99, 0.05)
        rejected += found.p <= 0.05
    # 3 against 3 cannot reject; else within the binomial band of 200 tests (99.9 %).
    assert rejected == 0 if units == 3 else rejected <= 21
