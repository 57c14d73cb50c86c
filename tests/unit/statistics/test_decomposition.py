"""Shapley shares against enumeration of all orders, and their tests against their own null."""

from itertools import permutations, product

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm

from headwise.statistics.decomposition import decompose
from headwise.statistics.shapley import columns_of, r_squared, subsets_of

pytestmark = pytest.mark.filterwarnings("error")


def generator():
    return np.random.default_rng(8)


def crossed(repeats=3):
    rows = list(product(["a", "b", "c"], ["x", "y"], range(repeats)))
    return [row[0] for row in rows], [row[1] for row in rows]


def r_squared_of(outcome, columns):
    design = np.column_stack([np.ones(len(outcome)), *columns]) if columns else np.ones((len(outcome), 1))
    fitted = design @ np.linalg.lstsq(design, outcome, rcond=None)[0]
    return 1 - np.sum((outcome - fitted) ** 2) / np.sum((outcome - outcome.mean()) ** 2)


def test_shares_are_the_mean_gain_over_all_orders():
    rng = np.random.default_rng(1)
    first, second = crossed()
    scale = rng.normal(size=18) + np.array([{"a": 0, "b": 1, "c": 2}[each] for each in first])
    outcome = scale + (np.array(second) == "x") + rng.normal(size=18)
    factors = {"first": first, "second": second, "scale": scale.tolist()}
    columns = {
        "first": [np.array(first) == "b", np.array(first) == "c"],
        "second": [np.array(second) == "y"],
        "scale": [scale],
    }
    expected = dict.fromkeys(factors, 0.0)
    for order in permutations(factors):
        for position, name in enumerate(order):
            before = [column for each in order[:position] for column in columns[each]]
            gain = r_squared_of(outcome, before + columns[name]) - r_squared_of(outcome, before)
            expected[name] += gain / 6
    found = decompose(outcome, factors, generator(), 200, 0.05)
    assert {name: share.estimate for name, share in found.shares.items()} == pytest.approx(expected)
    assert found.explained.estimate == pytest.approx(sum(expected.values()))
    assert list(found.order) == sorted(expected, key=lambda name: -expected[name])


def test_weighted_r_squared_is_that_of_repeated_units():
    rng = np.random.default_rng(2)
    first, second = crossed()
    outcome = rng.normal(size=18)
    weights = rng.multinomial(18, np.full(18, 1 / 18), size=1)
    blocks = {"first": columns_of(first), "second": columns_of(second)}
    rows = np.repeat(np.arange(18), weights[0])
    design = sm.add_constant(np.hstack([blocks["first"], blocks["second"]])[rows])
    found = r_squared(outcome[None], weights.astype(float), blocks, subsets_of(2))
    assert found[0, -1] == pytest.approx(sm.OLS(outcome[rows], design).fit().rsquared)


def test_the_test_of_a_factor_keeps_its_level_beside_a_strong_one():
    rng = np.random.default_rng(3)
    first, second = crossed()
    strong = 5.0 * (np.array(first) == "a")
    rejected = 0
    for _ in range(300):
        found = decompose(strong + rng.normal(size=18), {"first": first, "second": second}, rng, 99, 0.05)
        rejected += found.shares["second"].p <= 0.05
        assert found.shares["first"].p <= 0.02
    low, high = scipy.stats.binom.interval(1 - 1e-4, 300, 0.05)
    assert low <= rejected <= high


def test_an_order_of_nothing_is_not_distinguishable():
    rng = np.random.default_rng(4)
    first, second = crossed()
    nothing = decompose(rng.normal(size=18), {"first": first, "second": second}, rng, 500, 0.05)
    assert not nothing.distinguishable()
    assert "is not distinguishable from chance" in str(nothing)
    clear = 10.0 * (np.array(second) == "x") + 0.1 * rng.normal(size=18)
    found = decompose(clear, {"first": first, "second": second}, rng, 500, 0.05)
    assert found.distinguishable()
    assert found.order == ("second", "first")
    assert found.order_kept >= 0.99  # by chance a resample has almost nothing of one factor
    assert found.shares["first"].by_chance == pytest.approx(2 / 17, abs=0.02)


def test_clusters_are_drawn_whole():
    rng = np.random.default_rng(6)
    first, second = crossed(repeats=1)
    outcome = rng.normal(size=6)
    once = decompose(outcome, {"first": first, "second": second}, generator(), 300, 0.05)
    copies = decompose(
        np.repeat(outcome, 4),
        {"first": np.repeat(first, 4).tolist(), "second": np.repeat(second, 4).tolist()},
        generator(),
        300,
        0.05,
        clusters=np.repeat(np.arange(6), 4).tolist(),
    )
    assert copies.shares["first"].estimate == pytest.approx(once.shares["first"].estimate)
    assert copies.shares["first"].low == pytest.approx(once.shares["first"].low)
    assert copies.shares["first"].high == pytest.approx(once.shares["first"].high)


def test_intervals_over_few_clusters_are_the_jackknifes():
    rng = np.random.default_rng(5)
    first, second = np.tile([0.0, 1.0], 6), np.repeat([0.0, 1.0], 6)
    outcome = first + second + 0.2 * rng.normal(size=12)
    found = decompose(outcome, {"first": first.tolist(), "second": second.tolist()}, generator(), 9, 0.05)

    def share_of_first(chosen):
        def explained(*columns):
            design = np.column_stack([np.ones(chosen.sum()), *(column[chosen] for column in columns)])
            residuals = outcome[chosen] - design @ np.linalg.lstsq(design, outcome[chosen], rcond=None)[0]
            return 1 - residuals.var() / outcome[chosen].var()

        return (explained(first) + explained(first, second) - explained(second)) / 2

    left_out = np.array([share_of_first(np.arange(12) != unit) for unit in range(12)])
    error = np.sqrt(11 / 12 * np.sum((left_out - left_out.mean()) ** 2))
    estimate, half = share_of_first(np.ones(12, dtype=bool)), scipy.stats.t.ppf(0.975, 11) * error
    share = found.shares["first"]
    assert (share.estimate, share.low, share.high) == pytest.approx((estimate, estimate - half, estimate + half))
    assert "jackknife" in share.method


def test_from_forty_clusters_on_intervals_are_resampled():
    rng = np.random.default_rng(6)
    levels = np.tile([0.0, 1.0], 20)
    found = decompose(levels + rng.normal(size=40), {"first": levels.tolist()}, generator(), 99, 0.05)
    assert "percentile bootstrap" in found.shares["first"].method
    assert found.shares["first"].low < found.shares["first"].estimate < found.shares["first"].high


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ([np.nan] * 6, "units without a finite value, left out: 6; no unit has a finite value"),
        ([2.0] * 6, "all values are equal"),
    ],
)
def test_outcomes_that_do_not_vary(outcome, reason):
    first, second = crossed(repeats=1)
    found = decompose(outcome, {"first": first, "second": second}, generator(), 50, 0.05)
    assert (found.explained.estimate, found.shares["first"].p, found.order_kept) == (None, None, None)
    assert found.explained.reason == reason
    assert not found.distinguishable()


def test_a_factor_of_one_level_explains_nothing():
    first, _ = crossed(repeats=1)
    found = decompose([1.0, 2, 3, 4, 5, 7], {"first": first, "same": ["x"] * 6}, generator(), 50, 0.05)
    assert (found.shares["same"].estimate, found.shares["same"].p) == (pytest.approx(0), None)
    assert "one level only" in found.shares["same"].reason


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="no factors"):
        decompose([1.0, 2.0], {}, generator(), 50, 0.05)
    with pytest.raises(ValueError, match="factor 'a' has 1 levels for 2 units"):
        decompose([1.0, 2.0], {"a": ["x"]}, generator(), 50, 0.05)
    with pytest.raises(ValueError, match="factor 'a' has a level that is no number"):
        decompose([1.0, 2.0], {"a": [np.inf, 1.0]}, generator(), 50, 0.05)
    with pytest.raises(ValueError, match="factor 'a' has a level that is no number"):
        decompose([1.0, 2.0], {"a": [10**400, 1]}, generator(), 50, 0.05)
