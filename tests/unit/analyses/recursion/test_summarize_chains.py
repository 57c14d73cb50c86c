"""From chains to tables: onsets, survival, means over refits, and chains that end, against numbers made by hand."""

import numpy as np
import pandas as pd
import pytest

from headwise.analyses.recursion.settings import Arm, Recursion
from headwise.analyses.recursion.summarize_chains import (
    arm_difference,
    duration_rows,
    generation_rows,
    onsets,
    refit_means,
    survival_rows,
)
from headwise.statistics.procedures import Procedure
from headwise.statistics.survival import restricted_mean
from headwise.study.comparison import Comparison

SETTINGS = Comparison(resamples=199)
RECURSION = Recursion(
    arms=[Arm(name="one", model="m", mode="continue"), Arm(name="two", model="m", mode="continue")],
    generations=6,
    degradation={"consecutive": 3},
)


def chains() -> pd.DataFrame:
    """Arm one: onset at 1 and 2; arm two: at 4 (the last possible) and never."""
    states = {("one", "x"): "111000", ("one", "y"): "011111", ("two", "x"): "000111", ("two", "y"): "000011"}
    rows = [
        {"arm": arm, "seed": 1, "prompt": prompt, "generation": number + 1, "tokens": 4, "distinct_1": 1.0,
         "distinct_2": None if state == "1" else 1.0, "longest_repeated_span": 0, "repeated_share": 0.0,
         "similarity": 0.5, "nll_nats": 2.0, "degraded": state == "1"}
        for (arm, prompt), states_of in states.items() for number, state in enumerate(states_of)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_onsets_survival_and_restricted_means() -> None:
    times = onsets(chains(), RECURSION)
    assert times[["generation", "happened"]].to_numpy().tolist() == [[1, True], [2, True], [4, True], [4, False]]
    curve = [row for row in survival_rows(times, RECURSION, 0.05) if row.seed is None]
    steps = {arm: [(row.generation, row.survival) for row in curve if row.arm == arm] for arm in ("one", "two")}
    assert steps["one"] == [(0, 1.0), (1, 0.5), (2, 0.0), (4, 0.0)]
    assert steps["two"] == [(0, 1.0), (4, 0.5)]
    rows = [row for row in duration_rows(times, RECURSION, SETTINGS) if row.seed is None]
    assert [row.mean_generations for row in rows] == [1.5, 4.0]
    assert rows[1].difference == pytest.approx(2.5)
    assert rows[0].reference is None
    assert [(row.n, row.unit) for row in rows] == [(1, "refit"), (1, "refit")]


def test_arms_are_compared_in_pairs_of_refits_where_seeds_agree() -> None:
    rng = np.random.default_rng(0)
    paired = arm_difference({1: 4.0, 2: 5.0, 3: 6.0}, {3: 3.0, 2: 3.0, 1: 3.0}, rng, SETTINGS)
    assert (paired.difference, paired.p, paired.p_attainable) == (2.0, 0.25, 0.25)
    other = arm_difference({1: 4.0, 2: 5.0, 3: 6.0}, {7: 3.0, 8: 3.0, 9: 3.0}, rng, SETTINGS)
    assert (other.difference, other.p) == (2.0, pytest.approx(0.1))
    assert (paired.procedure, other.procedure) == (Procedure.REFITS, Procedure.TWO_SAMPLES)


def test_a_refits_mean_is_that_of_kaplan_meier() -> None:
    times = onsets(chains(), RECURSION)
    own = times[times["arm"] == "two"]
    expected = restricted_mean(own.generation, own["happened"], 4, 0.05).estimate
    assert refit_means(own, 4, 0.05) == {1: pytest.approx(expected)}


def ended(states: dict[tuple[str, int, str], str]) -> pd.DataFrame:
    """Generations of chains by arm, seed and prompt: degraded (1), not (0), and the one that ends a chain (e)."""
    rows = [
        {"arm": arm, "seed": seed, "prompt": prompt, "generation": number + 1,
         "degraded": None if state == "e" else state == "1"}
        for (arm, seed, prompt), chain in states.items() for number, state in enumerate(chain)
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"degraded": "boolean"})


def test_chains_that_end_are_censored_not_degraded() -> None:
    """By hand: of three at risk at 1 one degrades, of those at 3 (y was followed to 2, w to 0) one of one does."""
    states = {("one", 1, "x"): "111000", ("one", 1, "y"): "0000e", ("one", 1, "z"): "001110", ("one", 1, "w"): "1e"}
    times = onsets(ended(states), RECURSION)
    assert times[["generation", "happened", "ended"]].to_numpy().tolist() == [
        [1, True, False], [2, False, True], [3, True, False], [0, False, True]
    ]  # fmt: skip
    curve = [row for row in survival_rows(times, RECURSION, 0.05) if row.seed is None]
    steps = [(row.generation, round(row.survival, 6), row.at_risk) for row in curve]
    assert steps == [(0, 1.0, 4), (1, round(2 / 3, 6), 3), (3, 0.0, 1), (4, 0.0, 0)]
    over, own = duration_rows(times, RECURSION, SETTINGS)
    for row in (over, own):
        assert row.mean_generations == pytest.approx(1 + 2 * 2 / 3)
        assert (row.degraded_chains, row.ended_chains, row.chains) == (2, 2, 4)


def test_a_refit_whose_chains_all_end_has_no_mean_and_is_left_out_by_name() -> None:
    states = {("one", seed, prompt): chain for seed, pair in {1: ("000e", "0000e"), 2: ("000000", "111000")}.items()
              for prompt, chain in zip("xy", pair, strict=True)}  # fmt: skip
    times = onsets(ended(states), RECURSION)
    over, first, second = duration_rows(times, RECURSION, SETTINGS)
    assert (first.mean_generations, second.mean_generations, over.mean_generations) == (None, 2.5, 2.5)
    assert "nobody was followed to 4" in first.reason
    assert over.n == 1
    assert over.reason.endswith("refits of which no chain could be followed to generation 4, left out: 1")
    curve = [row for row in survival_rows(times, RECURSION, 0.05) if row.seed == 1]
    assert [(row.generation, row.survival, row.at_risk) for row in curve] == [(0, 1.0, 2), (2, 1.0, 1)]


def test_no_interval_where_no_chain_degraded() -> None:
    whole = chains().assign(degraded=False, seed=1)
    both = pd.concat([whole, whole.assign(seed=2)])
    rows = [row for row in duration_rows(onsets(both, RECURSION), RECURSION, SETTINGS) if row.seed is None]
    for row in rows:
        assert (row.mean_generations, row.ci_low, row.n) == (4.0, None, 2)
        assert row.reason == "no chain degraded: nothing varies"


def test_generations_are_means_over_chains_and_undefined_values_are_counted() -> None:
    rows = generation_rows(chains()).set_index(["arm", "generation"])
    assert rows.loc[("one", 1), "degraded"] == 0.5
    assert rows.loc[("one", 1), "distinct_2"] == 1.0
    assert (rows.loc[("one", 1), "undefined"], rows.loc[("one", 1), "chains"]) == (1, 2)
    assert np.isnan(rows.loc[("one", 2), "distinct_2"])
