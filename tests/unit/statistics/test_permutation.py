"""Permutation tests against enumeration in exact arithmetic, scipy, and the level that they promise."""

from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.statistics import permutation
from headwise.statistics.permutation import label_swap, sign_flip, two_sample

pytestmark = pytest.mark.filterwarnings("error")

SIMULATIONS = 2000
tenths = st.integers(-9, 9)


def generator():
    return np.random.default_rng(20)


def binomial_band(chance):
    """Numbers of rejections in SIMULATIONS that a test with this chance leaves in 1 of 10,000 cases."""
    return scipy.stats.binom.interval(1 - 1e-4, SIMULATIONS, chance)


def exact_sign_flip(integers):
    sums = [
        abs(sum(s * d for s, d in zip(signs, integers, strict=True)))
        for signs in product((1, -1), repeat=len(integers))
    ]
    return sum(total >= abs(sum(integers)) for total in sums) / len(sums)


def exact_two_sample(first, second):
    pooled, n, m = [*first, *second], len(first), len(second)

    def distance(members):
        inside = sum(pooled[i] for i in members)
        return abs(Fraction(inside, n) - Fraction(sum(pooled) - inside, m))

    observed = distance(range(n))
    distances = [distance(members) for members in combinations(range(n + m), n)]
    return sum(each >= observed for each in distances) / len(distances)


@settings(deadline=None)
@given(st.lists(tenths, min_size=1, max_size=9))
def test_sign_flip_equals_enumeration_in_integers_despite_floating_point_ties(integers):
    differences = np.array(integers) * 0.1
    test = sign_flip(differences, generator(), resamples=99)
    assert test.p == exact_sign_flip(integers)
    assert test.estimate == pytest.approx(np.mean(differences), abs=1e-15)
    assert test.p >= test.p_attainable == 2.0 ** (1 - len(integers))


@settings(deadline=None)
@given(st.lists(tenths, min_size=1, max_size=5), st.lists(tenths, min_size=1, max_size=5))
def test_two_sample_equals_enumeration_in_fractions_despite_floating_point_ties(first, second):
    test = two_sample(np.array(first) * 0.1, np.array(second) * 0.1, generator(), resamples=99)
    assert test.p == exact_two_sample(first, second)
    assert test.p >= test.p_attainable
    assert (test.n, test.n_reference) == (len(first), len(second))


def test_agrees_with_scipy():
    rng = generator()
    x, y = rng.normal(0.4, 1, size=(2, 9))
    expected = scipy.stats.permutation_test((x - y,), np.mean, permutation_type="samples", n_resamples=2**9)
    assert sign_flip(x - y, rng, 99).p == pytest.approx(expected.pvalue, abs=1e-12)
    independent = scipy.stats.permutation_test(
        (x[:5], y[:6]),
        lambda a, b: np.mean(a) - np.mean(b),
        permutation_type="independent",
        n_resamples=10_000,
    )
    ours = two_sample(x[:5], y[:6], rng, 99)
    assert ours.estimate == pytest.approx(independent.statistic)
    # scipy doubles the smaller tail, which for samples of unequal size is another two-sided p-value.
    splits = [list(members) for members in combinations(range(11), 5)]
    pooled = np.concatenate([x[:5], y[:6]])
    gaps = [abs(pooled[s].mean() - np.delete(pooled, s).mean()) for s in splits]
    assert ours.p == np.mean(np.array(gaps) >= gaps[0] - 1e-12)


@pytest.mark.parametrize(
    ("first", "second", "attainable"),
    [([7, 8, 9], [1, 2, 3], 2 / 20), ([7, 8], [1, 2, 3], 1 / 10), ([9], [1], 1.0), ([40], [1, 2, 3], 1 / 4)],
)
def test_separated_samples_attain_the_smallest_p(first, second, attainable):
    test = two_sample(first, second, generator(), 99)
    assert test.p == test.p_attainable == pytest.approx(attainable)


def test_three_refits_attain_one_quarter():
    test = sign_flip([0.1, 0.2, 0.3], generator(), 10_000)
    assert test.p == test.p_attainable == 0.25
    assert "exact over 8 arrangements" in test.method


def test_exact_up_to_twenty_units_then_monte_carlo():
    assert sign_flip(np.ones(20), generator(), 99).p == 2.0**-19
    beyond = sign_flip(np.ones(21), generator(), 99)
    assert beyond.p == beyond.p_attainable == 1 / 100
    assert "Monte Carlo with 99 resamples" in beyond.method


def test_monte_carlo_agrees_with_the_exact_distribution():
    integers = np.random.default_rng(1).integers(-5, 8, size=24)
    counts = {0: 1}
    for value in integers:
        step = {}
        for total, count in counts.items():
            for signed in (total + value, total - value):
                step[signed] = step.get(signed, 0) + count
        counts = step
    exact = sum(count for total, count in counts.items() if abs(total) >= abs(integers.sum())) / 2**24
    found = sign_flip(integers * 0.1, generator(), 20_000).p
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_two_sample_monte_carlo_agrees_with_the_t_test_on_normal_data():
    rng = np.random.default_rng(3)
    x, y = rng.normal(0.3, 1, 60), rng.normal(0, 1, 70)
    test = two_sample(x, y, generator(), 20_000)
    assert test.p == pytest.approx(scipy.stats.ttest_ind(x, y).pvalue, abs=0.015)
    assert test.p_attainable == 1 / 20_001


def spread(means):
    """A statistic that is not linear: (r, 3, 2) → (r, 1)."""
    return np.exp(means).prod(axis=-1).sum(axis=-1, keepdims=True)


def test_label_swap_equals_swapping_by_hand():
    first, second = np.random.default_rng(5).normal(size=(2, 6, 3, 2))
    second += 0.3
    statistics = []
    for swaps in product((False, True), repeat=6):
        swap = np.array(swaps)[:, None, None]
        a, b = np.where(swap, second, first), np.where(swap, first, second)
        statistics.append(spread(b.mean(axis=0)[None]).item() - spread(a.mean(axis=0)[None]).item())
    (test,) = label_swap(first, second, spread, generator(), 99)
    assert test.estimate == pytest.approx(statistics[0])
    assert test.p == np.mean(np.abs(statistics) >= abs(statistics[0]) - 1e-12)


def test_label_swap_of_a_linear_statistic_is_the_sign_flip_test():
    first, second = np.random.default_rng(6).normal(size=(2, 12, 4))
    (swapped,) = label_swap(first, second, lambda means: means.mean(axis=1, keepdims=True), generator(), 99)
    flipped = sign_flip((second - first).mean(axis=1), generator(), 99)
    assert (swapped.p, swapped.p_attainable) == (flipped.p, flipped.p_attainable)
    assert swapped.estimate == pytest.approx(flipped.estimate)


def test_features_undefined_in_either_sample_are_left_out_of_both():
    first, second = np.random.default_rng(7).normal(size=(2, 5, 2))
    first[0, 0], second[3, 1] = np.nan, np.nan
    tests = label_swap(first, second, lambda means: means, generator(), 99)
    for column, missing in ((0, 0), (1, 3)):
        alone = sign_flip(np.delete(second - first, missing, axis=0)[:, column], generator(), 99)
        assert tests[column].estimate == pytest.approx(alone.estimate)
        assert tests[column].p == pytest.approx(alone.p)


@settings(deadline=None)
@given(st.lists(st.tuples(tenths, tenths), min_size=2, max_size=8))
def test_exchanging_the_samples_changes_the_sign_alone(pairs):
    first, second = np.array(pairs, dtype=float).T[..., None]
    (forward,) = label_swap(first, second, lambda means: means**3, generator(), 99)
    (backward,) = label_swap(second, first, lambda means: means**3, generator(), 99)
    assert backward.estimate == pytest.approx(-forward.estimate)
    assert backward.p == forward.p


def test_chunks_do_not_change_an_exact_result(monkeypatch):
    differences = np.random.default_rng(8).normal(0.3, 1, 11)
    x, y = differences[:5], differences[5:]
    whole = sign_flip(differences, generator(), 99), two_sample(x, y, generator(), 99)
    monkeypatch.setattr(permutation, "CHUNK_VALUES", 70)
    assert (sign_flip(differences, generator(), 99), two_sample(x, y, generator(), 99)) == whole


def test_sign_flip_keeps_its_level():
    # Shares of arrangements come in steps of 1/512, so the level that can be had is 25/512.
    data = np.random.default_rng(9).standard_t(3, size=(10, SIMULATIONS))
    tests = label_swap(-data, data, lambda means: means, generator(), 99)
    low, high = binomial_band(25 / 512)
    assert low <= sum(test.p <= 0.05 for test in tests) <= high


def test_monte_carlo_sign_flip_keeps_its_level():
    rng = np.random.default_rng(10)
    rejected = sum(sign_flip(sample, rng, 99).p <= 0.05 for sample in rng.standard_t(3, size=(SIMULATIONS, 21)))
    low, high = binomial_band(0.05)
    assert low <= rejected <= high


def test_two_sample_keeps_its_level():
    rng = np.random.default_rng(11)
    rejected = sum(two_sample(s[:4], s[4:], rng, 99).p <= 0.05 for s in rng.exponential(size=(SIMULATIONS, 9)))
    low, high = binomial_band(6 / 126)
    assert low <= rejected <= high


def test_label_swap_keeps_its_level_for_a_statistic_that_is_not_linear():
    rng = np.random.default_rng(12)
    rejected = 0
    for _ in range(SIMULATIONS):
        prompt_effect = rng.normal(size=(8, 1, 1))
        first, second = prompt_effect + rng.normal(size=(2, 8, 3, 2))
        rejected += label_swap(first, second, spread, rng, 99)[0].p <= 0.05
    low, high = binomial_band(6 / 128)
    assert low <= rejected <= high


@pytest.mark.parametrize(
    ("differences", "p", "reason"),
    [
        ([], None, "there are no units"),
        ([np.nan, np.inf], None, "no unit has a finite value"),
        ([0.3], 1.0, "one unit: no result can be significant"),
        ([0.0] * 5, 1.0, "all paired differences are zero"),
        ([0.1, 0.1, 0.1, np.nan], 0.25, "units without a finite value, left out: 1"),
    ],
)
def test_sign_flip_of_little_data(differences, p, reason):
    test = sign_flip(differences, generator(), 99)
    assert (test.p, test.reason) == (p, reason)
    assert (test.p_attainable is None) == (p is None)


@pytest.mark.parametrize(
    ("first", "second", "p", "reason"),
    [
        ([], [1.0], None, "the first sample has no unit with a finite value"),
        ([1.0], [np.nan], None, "the second sample has no unit with a finite value"),
        ([], [], None, "both samples have no unit with a finite value"),
        ([2.0], [1.0], 1.0, "one unit in each sample: no result can be significant"),
        ([0.1] * 3, [0.1] * 4, 1.0, "all values are equal"),
        ([3.0, 4.0, np.nan], [1.0, 2.0], 1 / 3, "units without a finite value, left out: 1"),
    ],
)
def test_two_sample_of_little_data(first, second, p, reason):
    test = two_sample(first, second, generator(), 99)
    assert test.p == (p if p is None else pytest.approx(p))
    assert test.reason == reason


def test_an_undefined_statistic_is_no_test():
    defined, undefined = label_swap(
        np.zeros((4, 1)), np.ones((4, 1)), lambda means: np.hstack([means, means * np.nan]), generator(), 99
    )
    assert defined.p == 0.125
    assert (undefined.estimate, undefined.p, undefined.reason) == (None, None, "the statistic is undefined")


def test_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(3, 1\) and \(2, 1\)"):
        label_swap(np.zeros((3, 1)), np.zeros((2, 1)), lambda means: means, generator(), 99)


def test_results_print_as_sentences():
    assert str(sign_flip([1, 2, 4], generator(), 99)) == (
        "Difference 2.333, p = 0.25 (two-sided sign-flip test, exact over 8 arrangements, n = 3; "
        "smallest attainable p = 0.25)."
    )
    assert str(two_sample([], [1], generator(), 99)) == (
        "No test (two-sample permutation test, n = 0 against 1): the first sample has no unit with a finite value."
    )


def test_whole_clusters_are_swapped_together():
    rng = np.random.default_rng(31)
    first, second = rng.normal(size=(2, 12, 1))
    clusters = np.repeat(["a", "b", "c", "d"], [3, 1, 6, 2])
    (test,) = label_swap(first, second, lambda means: means, generator(), 99, clusters=clusters.tolist())
    differences = (second - first)[:, 0]
    observed = abs(differences.sum())
    sums = []
    for signs in product((1, -1), repeat=4):
        sign_of = dict(zip("abcd", signs, strict=True))
        sums.append(abs(sum(sign_of[c] * d for c, d in zip(clusters, differences, strict=True))))
    assert test.p == np.mean([total >= observed - 1e-12 for total in sums])
    assert (test.n, test.p_attainable, test.estimate) == (4, 1 / 8, pytest.approx(differences.mean()))
    assert "of whole clusters, exact over 16 arrangements" in test.method


def test_one_cluster_cannot_be_significant():
    (test,) = label_swap(np.zeros((5, 1)), np.ones((5, 1)), lambda m: m, generator(), 99, clusters=["a"] * 5)
    assert (test.p, test.n, test.reason) == (1.0, 1, "one cluster: no result can be significant")
    with pytest.raises(ValueError, match="1 cluster labels for 5 units"):
        label_swap(np.zeros((5, 1)), np.ones((5, 1)), lambda m: m, generator(), 99, clusters=["a"])
