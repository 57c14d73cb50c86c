"""Equal numbers count as equal at every scale: exact fractions beside floating point, from 1e-300 to 1e300."""

from fractions import Fraction
from itertools import combinations, permutations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.analyses.noise.probe import ProbedPair, suppressed_against_others
from headwise.analyses.noise.response import relative_change
from headwise.analyses.specialization.agreement import rank_correlation
from headwise.analyses.specialization.change import Change, changes_over_refits
from headwise.analyses.specialization.contrast import architecture_contrasts
from headwise.analyses.stability.matching import best_match
from headwise.analyses.stability.names import CORRECTED, PUBLISHED
from headwise.analyses.stability.uncertainty import correlation_test, least_stable_position
from headwise.published.noise import slope
from headwise.published.stability import Verdict, verdict
from headwise.statistics import ties
from headwise.statistics.decomposition import decompose
from headwise.statistics.effects import family_effects, random_effects
from headwise.statistics.equivalence import equivalence
from headwise.statistics.intervals import (
    bootstrap_intervals,
    jackknife_intervals,
    t_interval,
    welch_from_errors,
    welch_interval,
)
from headwise.statistics.multiplicity import benjamini_hochberg
from headwise.statistics.permutation import sign_flip, two_sample
from headwise.statistics.roc import roc_area
from headwise.statistics.survival import kaplan_meier, restricted_mean, restricted_mean_difference
from headwise.study.comparison import Comparison

pytestmark = pytest.mark.filterwarnings("error")

SCALES = (1e-300, 1e-160, 1e-20, 0.1, 1.0, 1e16, 1e160, 1e300)
LARGEST, SMALLEST = np.finfo(np.float64).max, 5e-324
few = st.lists(st.integers(-4, 4), min_size=1, max_size=6)


def generator():
    return np.random.default_rng(11)


def exact_sign_flip(integers):
    sums = [abs(sum(s * d for s, d in zip(signs, integers, strict=True))) for signs in signs_of(len(integers))]
    return sum(total >= abs(sum(integers)) for total in sums) / len(sums)


def signs_of(count):
    return product((1, -1), repeat=count)


def exact_two_sample(first, second):
    pooled, n, m = [*first, *second], len(first), len(second)

    def distance(members):
        inside = sum(pooled[place] for place in members)
        return abs(Fraction(inside, n) - Fraction(sum(pooled) - inside, m))

    distances = [distance(members) for members in combinations(range(n + m), n)]
    return sum(each >= distances[0] for each in distances) / len(distances)


def exact_area(first, second):
    return float(sum(Fraction((a > b) * 2 + (a == b), 2) for a in first for b in second) / (len(first) * len(second)))


def itself(means):
    return means


def bca(values):
    return bootstrap_intervals(np.reshape(values, (-1, 1)), itself, generator(), 199, 0.05)[0]


@pytest.mark.parametrize("scale", SCALES)
@settings(deadline=None, max_examples=15)
@given(few)
def test_sign_flips_of_tenths_are_those_of_integers_at_every_scale(scale, integers):
    # 0.3 × scale is not three times 0.1 × scale: the numbers tie but for rounding.
    test = sign_flip([each * 0.1 * scale for each in integers], generator(), 99)
    assert test.p == exact_sign_flip(integers)
    assert test.estimate == pytest.approx(float(Fraction(sum(integers), 10 * len(integers))) * scale, rel=1e-12)


@pytest.mark.parametrize("scale", SCALES)
@settings(deadline=None, max_examples=15)
@given(few, few)
def test_two_samples_of_tenths_about_a_common_offset_at_every_scale(scale, first, second):
    # About a million a tenth is off by a million times its own rounding.
    one, two = ([(1_000_000 + 0.1 * each) * scale for each in sample] for sample in (first, second))
    assert two_sample(one, two, generator(), 99).p == exact_two_sample(first, second)


@pytest.mark.parametrize("scale", [*SCALES, SMALLEST * 10])
@settings(deadline=None, max_examples=15)
@given(few, few)
def test_roc_areas_of_tenths_at_every_scale(scale, first, second):
    one = [(0.1 * each + 0.2) * scale for each in first]
    two = [(0.1 * (each + 2)) * scale for each in second]
    found = roc_area(one, two, generator(), 99, 0.05)
    assert found.estimate == pytest.approx(exact_area(first, second), abs=1e-15)


def test_one_huge_score_makes_no_ties_among_small_ones():
    found = roc_area([1e300, 2.0, 4.0], [1.0, 3.0, -1e300], generator(), 99, 0.05)
    assert found.estimate == pytest.approx(8 / 9)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("offset", [0, 10_000])
def test_correlations_that_tie_in_fractions_tie(scale, offset):
    x, y = [1, 2, 4, 2, 3], [3, 1, 3, 5, 2]

    def product_of(order):
        return abs(sum((Fraction(5 * a) - sum(x)) * (Fraction(5 * b) - sum(y)) for a, b in zip(x, order, strict=True)))

    orders = [product_of(order) for order in permutations(y)]
    expected = sum(each >= product_of(y) for each in orders) / len(orders)
    numbers = [[(each * 0.1 + offset) * scale for each in side] for side in (x, y)]
    test = correlation_test(*numbers, generator(), 99)
    assert test.p == expected
    assert test.p_attainable == sum(each == max(orders) for each in orders) / len(orders)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=7),
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=7),
    st.integers(-900, 900),
)
def test_powers_of_two_change_no_p_and_scale_every_interval(first, second, power):
    first, second = ([0.0 if abs(each) < 1e-9 else each for each in sample] for sample in (first, second))
    factor = 2.0**power

    def found(times):
        one, two = np.array(first) * times, np.array(second) * times
        return (
            [sign_flip(one, generator(), 99), two_sample(one, two, generator(), 99)],
            [t_interval(one, 0.05), welch_interval(one, two, 0.05), bca(one)],
            [
                jackknife_intervals(one[:, None], itself, 0.05)[0],
                random_effects(one, np.abs(one) + 0.5 * times, 0.05),
                random_effects(one, np.full(len(one), np.nan), 0.05),
                equivalence(one, 2 * times),
            ],
        )

    for ours, theirs in zip(found(1.0), found(factor), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.reason == other.reason
            for name in ("p", "estimate", "low", "high", "tau", "prediction_low"):
                value, scaled = getattr(one, name, None), getattr(other, name, None)
                assert (value is None) == (scaled is None)
                if name == "p":
                    assert value == scaled
                else:
                    assert value is None or scaled / factor == pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("scale", [*SCALES, SMALLEST])
def test_equal_values_are_constant_and_unequal_ones_are_not(scale):
    assert ties.is_constant(np.array([0.3, 0.1 + 0.2, 0.3]) * scale)
    assert not ties.is_constant(np.array([3, 3.5, 4]) * (scale * 2))
    assert ties.is_constant(np.zeros(3))
    assert not ties.is_constant(np.array([-LARGEST, LARGEST]))
    merged = ties.merged(np.array([0.1 + 0.2, 0.9, 0.3, 3e-9]) * scale)
    assert merged[0] == merged[2]
    assert len(set(merged)) == (3 if scale > SMALLEST else 2)


@pytest.mark.parametrize("change", [0.1, 0.125, 0.7, 100.1 - 100])
def test_equal_changes_in_three_families_are_undefined_whatever_their_digits(change):
    names, means, errors = family_effects([change] * 9, [name for name in "abc" for _ in range(3)])
    assert (names, errors.tolist()) == (["a", "b", "c"], [0.0, 0.0, 0.0])
    found = random_effects(means, errors, 0.05)
    assert (found.low, found.p) == (None, None)
    assert found.reason == "a family without a standard error: families count alike; all effects are equal"
    for interval in (t_interval([change] * 9, 0.05), bca([change] * 9)):
        assert interval.low == pytest.approx(interval.high, abs=1e-15)
        assert "equal" in interval.reason or "same" in interval.reason


def test_an_error_of_rounding_alone_is_no_error():
    found = random_effects([0.1, 0.2, 0.4], [1e-17, 0.1, 0.1], 0.05)
    assert "a family without a standard error" in found.reason
    assert found.low == pytest.approx(t_interval([0.1, 0.2, 0.4], 0.05).low)


@pytest.mark.parametrize(
    ("effects", "variances"),
    [
        ([0.0, 0.1, 0.9], [1e-6, 1e-6, 1e-2]),
        ([-3.0, 0.1, 0.9, 1.0], [1e-8, 1e-2, 4.0, 1e-8]),
        ([1.0, 2.0, 3.0, 9.0], [1e-12, 1e-12, 1e-12, 1e2]),
        ([0.1, 0.3, 0.2, 0.9], [0.01, 0.02, 0.01, 0.03]),
    ],
)
@pytest.mark.parametrize("scale", [1e-290, 1.0, 1e290])
def test_the_search_for_tau_ends_at_the_root_in_fractions(effects, variances, scale):
    found = random_effects(np.array(effects) * scale, np.sqrt(variances) * scale, 0.05)
    tau_squared = Fraction(found.tau / scale) ** 2

    def weighted_squares(tau_squared):
        weights = [1 / (Fraction(variance) + tau_squared) for variance in variances]
        values = [Fraction(effect) for effect in effects]
        mean = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
        return sum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True))

    # The weighted squares fall: the root lies between slightly smaller and slightly larger values.
    slight = Fraction(1, 10**9)
    freedom = len(effects) - 1
    assert weighted_squares(tau_squared * (1 - slight)) > freedom > weighted_squares(tau_squared * (1 + slight))


def test_a_change_at_the_margin_is_not_within_it():
    # The mean of ten times 0.3 is below 0.3.
    assert np.mean([0.3] * 10) < 0.3
    assert equivalence([0.3] * 10, 0.3).p == 1.0
    assert equivalence([0.1 + 0.2] * 5, 0.3).p == 1.0
    assert equivalence([0.1] * 10, 0.1001).p == 0.0


def test_what_cancels_is_zero():
    assert sign_flip([0.1, 0.2, -0.3], generator(), 99).estimate == 0
    assert t_interval([0.1, 0.2, -0.3], 0.05).estimate == 0
    assert two_sample([0.3, 0.3], [0.1 + 0.2, 0.3], generator(), 99).estimate == 0
    assert welch_interval([0.3, 0.4], [0.1 + 0.2, 0.4], 0.05).estimate == 0
    assert ties.difference(np.array([0.3, np.nan, 2.0]), np.array([0.1 + 0.2, 1.0, 1.0])).tolist()[::2] == [0.0, 1.0]


def test_shares_that_differ_by_rounding_stay_in_the_order_given():
    first, second = [0, 0, 1, 1] * 3, [0, 1, 0, 1] * 3
    outcome = [0.1 * (a + b) for a, b in zip(first, second, strict=True)]
    for factors in ({"one": first, "two": second}, {"two": second, "one": first}):
        found = decompose(outcome, factors, generator(), 99, 0.05)
        assert found.order == tuple(factors)
        assert not found.distinguishable()


def test_the_first_of_equally_stable_layers_is_the_least_stable():
    assert least_stable_position(np.array([0.9, 0.1 + 0.2, 0.3])) == 0.5


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_errors_whose_squares_leave_the_range_of_numbers_count(scale):
    plain, scaled = (welch_from_errors(3 * s, [s, 2 * s], [4, 5], 0.05, "t") for s in (1.0, scale))
    assert scaled.low / scale == pytest.approx(plain.low, rel=1e-9)
    unknown = welch_from_errors(3 * scale, [scale, np.nan], [4, 5], 0.05, "t")
    assert (unknown.low, unknown.reason) == (None, "an error is not finite")


def test_what_is_beyond_the_range_of_numbers_is_undefined_and_says_so():
    spread = [-LARGEST, LARGEST, LARGEST]
    interval = t_interval(spread, 0.05)
    assert (interval.low, interval.high) == (None, None)
    assert interval.estimate == pytest.approx(LARGEST / 3)
    assert interval.reason == "not finite, beyond the range of numbers: low, high"
    for found in (
        welch_interval(spread, [1.0, 2.0], 0.05),
        random_effects(spread, [np.nan] * 3, 0.05),
        random_effects(spread, [LARGEST] * 3, 0.05),
        bca(spread),
        jackknife_intervals(np.reshape(spread, (-1, 1)), itself, 0.05)[0],
    ):
        assert found.low is None or np.isfinite([found.low, found.high]).all()
        assert found.low is not None or "beyond the range of numbers" in found.reason
    assert two_sample([LARGEST] * 3, [-LARGEST] * 3, generator(), 99).estimate is None
    assert sign_flip(spread, generator(), 99).p == 1.0


@pytest.mark.parametrize("scale", SCALES)
def test_times_that_are_equal_but_for_rounding_are_one_time(scale):
    happened = [True, True, False, True, True]
    plain = kaplan_meier([3, 3, 3, 7, 9], happened, 0.05)
    times = [each * scale for each in (0.3, 0.1 + 0.2, 0.3, 0.7, 0.9)]
    curve = kaplan_meier(times, happened, 0.05)
    assert curve.survival.tolist() == plain.survival.tolist()
    assert curve.at_risk.tolist() == [5, 2, 1]
    # The horizon is 0.9 but for rounding: everybody is gone there, not before.
    horizon = (0.3 + 0.6) * scale
    expected = restricted_mean([3, 3, 3, 7, 9], happened, 9, 0.05)
    found = restricted_mean(times, happened, horizon, 0.05)
    assert (found.estimate / scale, found.low / scale) == pytest.approx((expected.estimate / 10, expected.low / 10))
    groups = ([each * scale for each in (0.3, 0.7, 0.9)], [True] * 3), ([(0.1 + 0.2) * scale, 0.9 * scale], [True] * 2)
    test = restricted_mean_difference(*groups, horizon, generator(), 99, 0.05)
    exact = restricted_mean_difference(([3, 7, 9], [True] * 3), ([3, 9], [True] * 2), 9, generator(), 99, 0.05)
    assert test.p == exact.p


def test_verdicts_changes_and_responses_take_rounding_for_nothing():
    assert verdict(PUBLISHED, 1e-16, None, None) == Verdict.CONTRADICTED
    assert verdict(CORRECTED, 0.1, 1e-16, 0.2) == Verdict.UNDECIDED
    assert verdict(CORRECTED, 0.1, 1e-9, 0.2) == Verdict.SUPPORTED
    assert verdict(CORRECTED, -0.1, -0.2, -1e-16) == Verdict.UNDECIDED
    (change,) = changes_over_refits(
        [change_of(seed, base, aligned) for seed, (base, aligned) in enumerate([(0.3, 0.1 + 0.2), (0.7, 0.7)])],
        [0, 1], Comparison(), generator(),
    )  # fmt: skip
    assert (change.delta_absolute, change.p) == (0.0, 1.0)
    tiny = changes_over_refits([change_of(0, 1e-17, 0.2)], [0], Comparison(), generator())[0]
    assert (tiny.delta_absolute, tiny.delta_relative) == (pytest.approx(0.2), None)


def change_of(seed, base, aligned):
    fields = dict.fromkeys(("delta_relative", "ci_low", "ci_high", "p", "p_attainable"))
    return Change(
        scope="refit", seed=seed, estimator="hellinger", sink="kept", level="model", layer=None, base_value=base,
        aligned_value=aligned, delta_absolute=aligned - base, n=3, unit="prompt", test="", **fields,
    )  # fmt: skip


def test_a_model_whose_value_is_the_bases_but_for_rounding_did_not_fall():
    values = [(0.1 + 0.2, 0.3), (0.5, 0.4), (0.5, 0.6)]
    pairs = [ProbedPair(*pair, 1.0, 2.0, number) for number, pair in enumerate(values)]
    found = suppressed_against_others(pairs, generator(), 99, 0.05)
    assert (found.n, found.n_reference) == (1, 2)


def test_a_response_relative_to_rounding_is_undefined():
    assert relative_change((1e-17, None), (0.1, None)) == (None, "the value without noise is 0: no relative change")
    assert relative_change((0.1, None), (0.2, None)) == (pytest.approx(100), None)


def test_refits_that_differ_by_rounding_are_paired_as_equal():
    values = {("hellinger", "kept"): {"one": {1: 0.3, 2: 0.5}, "two": {1: 0.1 + 0.2, 2: 0.5}}}
    paired = [row for row in architecture_contrasts(values, {}, "one", Comparison()) if row.kind.endswith("by_seed")]
    assert (paired[0].estimate, paired[0].p) == (0.0, 1.0)
    assert "all paired differences are zero" in paired[0].reason


def test_ranks_of_models_take_rounding_for_ties():
    pair = pd.DataFrame({"one": [0.3, 0.1 + 0.2, 0.5, 0.1], "two": [0.2, 0.9, 0.4, 0.1]})
    exact = pd.DataFrame({"one": [3, 3, 5, 1], "two": [2, 9, 4, 1]})
    assert rank_correlation(pair)[0] == pytest.approx(exact.corr(method="spearman").to_numpy()[0, 1])
    assert rank_correlation(pair.assign(two=[0.3, 0.1 + 0.2, 0.3, 0.3])) == (None, "all values are equal")


def test_the_first_of_equally_similar_heads_is_the_best_match():
    values, heads = best_match(np.array([[0.3, 0.1 + 0.2, 0.2], [np.nan, 0.1, np.nan]]))
    assert (heads.tolist(), values.tolist()) == ([0, 1], [0.1 + 0.2, 0.1])


def test_a_released_slope_over_equal_doses_is_none():
    fit, error = slope(np.array([0.3, 0.1 + 0.2, 0.3]), np.array([1.0, 2.0, 4.0]), "slope")
    assert (fit.estimate, np.isnan(error)) == (None, True)


def test_an_adjusted_p_that_is_the_level_but_for_rounding_is_the_level():
    # Seven of ten tests at 7/200: times 10/7 that is 1/20.
    found = benjamini_hochberg([7 / 200] * 7 + [1.0] * 3)
    assert (found.p[0], found.rejected.tolist()) == (0.05, [True] * 7 + [False] * 3)


@pytest.mark.parametrize("scale", SCALES)
@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(-4, 4), min_size=3, max_size=8))
def test_bootstraps_of_tenths_are_those_of_integers(scale, integers):
    for method in ("percentile", "bca", "studentised"):
        exact, found = (
            bootstrap_intervals(np.reshape(values, (-1, 1)), itself, generator(), 199, 0.05, method=method)[0]
            for values in (integers, [each * 0.1 * scale for each in integers])
        )
        assert found.reason == exact.reason
        assert [found.low / scale, found.high / scale] == pytest.approx([exact.low / 10, exact.high / 10], abs=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_a_factor_that_explains_nothing_has_p_one(scale):
    outcome = [each * scale for each in (0.1, 0.2, 0.3, 0.3, 0.1 + 0.1, 0.1)]
    found = decompose(outcome, {"one": list("aaabbb"), "two": list("xyxyxy")}, generator(), 99, 0.05)
    assert found.shares["one"].p == 1.0
    assert found.shares["one"].estimate == pytest.approx(0, abs=1e-12)
