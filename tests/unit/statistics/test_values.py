"""What counts as a number, a label or an answer is the same everywhere, and n is what was used."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.analyses.factors.analyse import Unit, factor_rows
from headwise.analyses.factors.rows import Outcome
from headwise.analyses.noise.summarize_responses import discrimination_rows
from headwise.analyses.stability.uncertainty import (
    correlation_test,
    difference_intervals,
    mean_correlation_test,
    refit_intervals,
)
from headwise.statistics.decomposition import decompose
from headwise.statistics.effects import family_effects, random_effects
from headwise.statistics.equivalence import equivalence
from headwise.statistics.intervals import (
    bootstrap_intervals,
    cluster_intervals,
    jackknife_intervals,
    t_interval,
    welch_interval,
)
from headwise.statistics.multiplicity import benjamini_hochberg, holm
from headwise.statistics.permutation import label_swap, sign_flip, two_sample
from headwise.statistics.roc import roc_area
from headwise.statistics.survival import kaplan_meier, restricted_mean
from headwise.statistics.values import answers, codes, numbers
from headwise.study.comparison import Comparison

pytestmark = pytest.mark.filterwarnings("error")

MISSING = [None, np.nan, float("inf"), np.float32("-inf"), pd.NA, pd.NaT, 10**400]


def generator():
    return np.random.default_rng(3)


def itself(means):
    return means


def table(values):
    return [[value] for value in values] if len(values) else np.empty((0, 1))


# Each maps numbers, one per unit, to a result; the number of a unit alone decides whether it is used.
PROCEDURES = {
    "sign_flip": lambda v: sign_flip(v, generator(), 99),
    "label_swap": lambda v: label_swap(np.zeros((len(v), 1)), table(v), itself, generator(), 99)[0],
    "label_swap of clusters": lambda v: label_swap(
        np.zeros((len(v), 1)), table(v), itself, generator(), 99, clusters=range(len(v))
    )[0],
    "two_sample": lambda v: two_sample(v, [1.0, 2.5], generator(), 99),
    "two_sample, second": lambda v: two_sample([1.0, 2.5], v, generator(), 99),
    "bootstrap_intervals": lambda v: bootstrap_intervals(table(v), itself, generator(), 99, 0.05)[0],
    "cluster_intervals": lambda v: cluster_intervals(table(v), itself, generator(), 99, 0.05)[0],
    "jackknife_intervals": lambda v: jackknife_intervals(table(v), itself, 0.05, [str(n) for n in range(len(v))])[0],
    "t_interval": lambda v: t_interval(v, 0.05),
    "welch_interval": lambda v: welch_interval(v, [1.0, 2.5], 0.05),
    "equivalence": lambda v: equivalence(v, 1.0),
    "random_effects": lambda v: random_effects(v, [0.5] * len(v), 0.05),
    "roc_area": lambda v: roc_area(v, [1.0, 2.5], generator(), 99, 0.05),
    "restricted_mean": lambda v: restricted_mean(v, [True] * len(v), 9.0, 0.05),
    "decompose": lambda v: decompose(v, {"one": [str(n % 2) for n in range(len(v))]}, generator(), 99, 0.05).explained,
    "correlation_test": lambda v: correlation_test(v, [n**2 for n in range(len(v))], generator(), 99),
}
SAMPLE = [0.5, 3.0, 1.0, 4.0, 2.0]


def without_reason(result):
    return {name: value for name, value in vars(result).items() if name != "reason"}


@pytest.mark.parametrize("name", PROCEDURES)
@pytest.mark.parametrize("missing", MISSING, ids=repr)
def test_what_is_missing_changes_nothing_and_is_counted(name, missing):
    expected, found = PROCEDURES[name](SAMPLE), PROCEDURES[name]([*SAMPLE, missing, missing])
    assert without_reason(found) == pytest.approx(without_reason(expected))
    assert "left out: 2" in found.reason


@pytest.mark.parametrize("name", PROCEDURES)
@pytest.mark.parametrize("wrong", ["2.0", b"2", True, np.True_, 1j, [1.0], "nan"], ids=repr)
def test_what_is_no_number_is_refused_by_its_place(name, wrong):
    with pytest.raises(ValueError, match=r"no number|dimensions|different lengths"):
        PROCEDURES[name]([*SAMPLE, wrong])


@pytest.mark.parametrize("name", PROCEDURES)
@pytest.mark.parametrize("of", [np.float32, np.float64, Fraction, Decimal, np.longdouble, lambda v: np.array(v)])
def test_numbers_of_every_type_are_alike(name, of):
    expected, found = PROCEDURES[name](SAMPLE), PROCEDURES[name]([of(value) for value in SAMPLE])
    assert vars(found) == vars(expected)
    assert vars(PROCEDURES[name](pd.Series(SAMPLE, dtype="Float64"))) == vars(expected)


@pytest.mark.parametrize("name", [name for name in PROCEDURES if "intervals" not in name])
def test_numbers_in_a_table_are_refused(name):
    with pytest.raises(ValueError, match=r"dimensions|shapes"):
        PROCEDURES[name](np.ones((2, 2)))


anything = st.one_of(
    st.floats(),
    st.none(),
    st.sampled_from([0.0, -0.0, 0.1, 0.1 + 0.2, 0.3, 1e308, -1e308, 1e-308, 5e-324, 10**309, -(10**309), 2**63]),
    st.integers(-(10**320), 10**320),
)


@pytest.mark.parametrize("name", PROCEDURES)
@settings(deadline=None, max_examples=40)
@given(st.lists(anything, max_size=7))
def test_whatever_numbers_are_given_results_are_finite_or_have_a_reason(name, values):
    if name == "restricted_mean":
        values = [value if value is None else abs(value) for value in values]
    result = PROCEDURES[name](values)
    assert all(np.isfinite(each) for each in vars(result).values() if isinstance(each, float))
    assert result.n <= sum(value is not None and abs(value) < 2e308 for value in values) + 2
    assert result.reason or result.estimate is not None
    assert not isinstance(getattr(result, "p", None), float) or 0 <= result.p <= 1
    if getattr(result, "low", None) is not None:
        size = max(abs(result.low), abs(result.high))
        assert result.low <= result.estimate + 1e-9 * size
        assert result.high >= result.estimate - 1e-9 * size


def test_fifty_units_of_which_five_are_finite_are_five():
    values = np.full((50, 1), np.nan)
    values[::10, 0] = [2.0, 40.0, 1.0, 3.0, 14.0]
    (found,) = cluster_intervals(values, itself, generator(), 999, 0.05)
    (alone,) = jackknife_intervals(values[::10], itself, 0.05)
    assert (found.low, found.high, found.n) == (alone.low, alone.high, 5)
    assert found.reason == "units without a finite value, left out: 45"


def test_each_outcome_rests_on_the_units_that_it_can_use():
    rng = np.random.default_rng(1)
    features = rng.normal(0.5, size=(50, 2))
    features[5:, 1] = np.nan

    def outcomes(means):
        return np.column_stack([means, means[:, 0] * 2])

    alone = [cluster_intervals(part, itself, generator(), 99, 0.05)[0] for part in (features[:, :1], features[:5, 1:])]
    whole, few, twice = cluster_intervals(features, outcomes, generator(), 99, 0.05)
    assert (whole.n, few.n, twice.n) == (50, 5, 50)
    assert (few.low, few.high) == pytest.approx((alone[1].low, alone[1].high))
    assert few.reason == "units without a finite value, left out: 45"
    tests = label_swap(np.zeros_like(features), features, outcomes, generator(), 99)
    assert [test.n for test in tests] == [50, 5, 50]
    assert tests[1].p == sign_flip(features[:5, 1], generator(), 99).p
    assert tests[1].p_attainable == 2**-4
    assert tests[0].p_attainable == 1 / 100


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([1, "1", 2.0, "2.0", True]), min_size=4, max_size=8))
def test_labels_are_one_where_they_are_the_same_thing(labels):
    members = codes(labels, len(labels), "units")
    for one, other in zip(labels, members, strict=True):
        for another, code in zip(labels, members, strict=True):
            assert (other == code) == (type(one) is type(another) and one == another)
    values = np.arange(len(labels), dtype=np.float64)[:, None]
    count = len(set(members))
    assert label_swap(-values, values, itself, generator(), 9, clusters=labels)[0].n == count
    assert cluster_intervals(values, itself, generator(), 9, 0.05, labels)[0].n == count
    assert f"{count} clusters" in equivalence(values[:, 0], 1, labels).method
    found = decompose(values[:, 0], {"one": [n % 2 for n in range(len(labels))]}, generator(), 9, 0.05, labels)
    assert f"over {count} clusters" in found.explained.method


def test_numbers_of_every_type_are_one_label_and_missing_labels_are_none():
    assert codes([1, 1.0, np.int64(1), np.float32(1), Fraction(1)], 5, "units").tolist() == [0] * 5
    assert codes([None, "b", np.nan, "a", pd.NA], 5, "units").tolist() == [-1, 0, -1, 1, -1]
    assert codes(["b", None, "a"], 3, "units", in_order=True).tolist() == [1, -1, 0]
    values, labels = np.array([[1.0], [2.0], [4.0], [9.0]]), ["a", "b", "c", None]
    for found in (
        *jackknife_intervals(values, itself, 0.05, labels),
        *label_swap(-values, values, itself, generator(), 99, clusters=labels),
        equivalence(values[:, 0], 1, labels),
        decompose(values[:, 0], {"one": [1, 2, 3, 4]}, generator(), 9, 0.05, labels).explained,
    ):
        assert found.n == 3
        assert "units without a cluster, left out: 1" in found.reason


@pytest.mark.parametrize("of", [int, float, np.int64, np.int8, np.float32, Fraction, Decimal])
def test_levels_of_a_factor_are_numbers_in_every_numeric_type(of):
    levels = [1, 2, 3, 4, 5, 6]
    outcome = [1.0, 2.0, 1.5, 3.0, 1.0, 2.0]
    expected = np.corrcoef(levels, outcome)[0, 1] ** 2
    found = decompose(outcome, {"one": [of(level) for level in levels]}, generator(), 99, 0.05)
    assert found.explained.estimate == pytest.approx(expected)
    as_text = decompose(outcome, {"one": [str(level) for level in levels]}, generator(), 99, 0.05)
    assert as_text.explained.estimate == pytest.approx(1)


def test_units_without_a_level_are_left_out_by_the_name_of_the_factor():
    outcome = [1.0, 2.0, 1.5, 3.0, 9.0, np.nan]
    first, second = ["a", "b", "a", "b", None, "b"], [1, 2, 3, 4, 5, 6]
    found = decompose(outcome, {"first": first, "second": second}, generator(), 99, 0.05).explained
    expected = decompose(outcome[:4], {"first": first[:4], "second": second[:4]}, generator(), 99, 0.05).explained
    assert found.estimate == pytest.approx(expected.estimate)
    assert found.n == 4
    assert "units without a finite value, left out: 1; units without a level of 'first', left out: 1" in found.reason


def test_happened_is_true_or_false_or_not_known():
    times = [1.0, 2.0, 3.0, 4.0, 5.0]
    expected = kaplan_meier(times[:3], [True, False, True], 0.05)
    for unknown in (None, np.nan, pd.NA):
        for yes, no in ((True, False), (1, 0), (np.True_, np.float64(0))):
            found = kaplan_meier(times, [yes, no, yes, unknown, unknown], 0.05)
            assert (found.n, found.events.sum()) == (3, 2)
            assert found.survival.tolist() == expected.survival.tolist()
            assert found.reason == "units of which it is not known whether it happened, left out: 2"
    for wrong in ("0", "False", "", 2, -1, 0.5):
        with pytest.raises(ValueError, match=r"happened\[1\] is .*: give true, false, or nothing"):
            kaplan_meier(times[:2], [True, wrong], 0.05)
    assert answers(pd.Series([True, None], dtype="boolean"), "happened")[1].tolist() == [True, False]


def test_heads_without_a_number_are_left_out_of_their_refit():
    one = np.array([[1.0, 2.0, 3.0, 4.0, np.nan], [2.0, 1.0, 4.0, 3.0, 9.0]])
    two = np.array([[1.0, 3.0, 2.0, 4.0, 7.0], [1.0, 2.0, 3.0, 5.0, np.nan]])
    found = mean_correlation_test(one, two, generator(), 999)
    expected = mean_correlation_test(one[:, :4], two[:, :4], generator(), 999)
    assert (found.estimate, found.p) == (expected.estimate, expected.p)
    assert found.p > 0.05


def test_families_are_told_apart_as_labels_are():
    names, means, _ = family_effects([1.0, 3.0, 5.0, np.nan, 7.0], ["1", 1, "1", "b", None])
    assert (names, means.tolist()) == (["1", 1], [3.0, 3.0])


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_p_values_are_numbers(adjust):
    assert adjust([0.01, None, pd.NA]).tests == 1
    with pytest.raises(ValueError, match=r"p-values\[1\] is '0.5', no number"):
        adjust([0.01, "0.5"])


def test_lengths_that_differ_are_refused():
    for call in (
        lambda: equivalence([1.0, 2.0], 1, ["a"]),
        lambda: jackknife_intervals(np.ones((2, 1)), itself, 0.05, ["a"]),
        lambda: label_swap(np.ones((2, 1)), np.ones((2, 1)), itself, generator(), 9, clusters=["a"]),
        lambda: random_effects([1.0, 2.0], [1.0], 0.05),
        lambda: family_effects([1.0, 2.0], ["a"]),
        lambda: correlation_test([1.0, 2.0], [1.0], generator(), 9),
        lambda: kaplan_meier([1.0], [True, False], 0.05),
    ):
        with pytest.raises(ValueError, match=r" for | have "):
            call()
    with pytest.raises(ValueError, match="values are lists of different lengths"):
        numbers([np.ones((1, 2)), np.ones((1, 3))], "values", None)


def pairs_of(refits, lost=()):
    rng = np.random.default_rng(4)
    pairs = rng.normal(0.8, 0.05, size=(refits, refits, 2))
    pairs += pairs.swapaxes(0, 1)
    for refit in lost:
        pairs[refit] = pairs[:, refit] = np.nan
    return pairs


@pytest.mark.parametrize("refits", [6, 43])
def test_refits_without_a_value_are_no_units(refits):
    pairs = pairs_of(refits, lost=(0, 3))
    kept = [refit for refit in range(refits) if refit not in (0, 3)]
    alone = pairs[np.ix_(kept, kept)]
    for found, expected in [
        (
            refit_intervals(pairs, itself, generator(), 50, 0.05),
            refit_intervals(alone, itself, generator(), 50, 0.05),
        ),
        (
            difference_intervals(pairs, pairs, itself, generator(), 50, 0.05),
            difference_intervals(alone, alone, itself, generator(), 50, 0.05),
        ),
    ]:
        for ours, theirs in zip(found, expected, strict=True):
            assert without_reason(ours) == without_reason(theirs)
            assert "refits without a finite value, left out: " in ours.reason


def test_an_outcome_of_refits_rests_on_those_that_have_it():
    pairs = pairs_of(6)
    pairs[4:, :, 1] = pairs[:, 4:, 1] = np.nan
    whole, part = refit_intervals(pairs, itself, generator(), 50, 0.05)
    (expected,) = refit_intervals(pairs[:4, :4, 1:], itself, generator(), 50, 0.05)
    assert (whole.n, part.n) == (6, 4)
    assert (part.low, part.high) == pytest.approx((expected.low, expected.high))


def test_what_a_table_lost_is_in_its_reasons():
    units = [
        Unit(value, {"training": level, "scale": 1.0}, str(place), False)
        for place, (value, level) in enumerate([(1.0, "a"), (2.0, "b"), (1.5, "a"), (2.5, "b"), (np.nan, "b")])
    ]
    rows = list(factor_rows(Outcome.LEVEL, "hellinger", "kept", units, Comparison()))
    assert {row.n for row in rows} == {4}
    assert all("left out: 1" in row.reason for row in rows if row.quantity != "order")
    probed = pd.DataFrame(
        {
            "estimator": "hellinger", "model": ["b", "a", "b", "a"], "base": [None, "b", None, "b"],
            "seed": [1, 1, 2, 2], "clean": [0.1, 0.2, 0.1, 0.3], "change_percent": [1.0, 2.0, 3.0, None],
        }
    )  # fmt: skip
    for row in discrimination_rows(probed, Comparison()):
        assert row.reason.startswith("pairs of which a value or a response is undefined, left out: 1")
