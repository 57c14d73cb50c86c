"""From rows of single refits to tables: means, units, and values that are missing, against numbers made by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headwise.analyses.noise.noise_rows import (
    areas,
    contrast_rows,
    per_unit,
    read_refits,
    response_rows,
    sensitivity_rows,
    slope_rows,
)
from headwise.analyses.noise.probe_rows import (
    discrimination_rows,
    probe_rows,
    selection_rows,
    specialization_response_rows,
)
from headwise.analyses.recursion.rows import (
    arm_difference,
    duration_rows,
    generation_rows,
    onsets,
    refit_means,
    survival_rows,
)
from headwise.runtime.parquet import write_table
from headwise.statistics.survival import restricted_mean
from headwise.study.comparison import Comparison
from headwise.study.robustness import Arm, Recursion

SETTINGS = Comparison(resamples=199)
SIGMAS = (0.1, 0.2)
CELL = {"site": "attention_output", "scale": "absolute", "region": "all"}


def losses(factors: dict[str, float], seeds=(1, 2, 3), draws: int = 2, heads: str = "as made") -> pd.DataFrame:
    """Change of the loss 10 σ × a factor per model, × 1 … 1.2 by seed, ± by draw."""
    rows = [
        {
            "model": model, "heads": heads, **CELL, "sigma": sigma, "draw": draw, "seed": seed, "unit": "refit",
            "delta_nll_nats": factor * 10 * sigma * (1 + seed / 10) + (draw - 0.5) * 1e-3,
        }
        for model, factor in factors.items() for seed in seeds for sigma in SIGMAS for draw in range(draws)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_units_are_refits_unless_all_seeds_have_the_same_weights(tmp_path: Path) -> None:
    paths = []
    for seed, digest in ((1, "a"), (2, "b")):
        path = tmp_path / f"{seed}.parquet"
        table = losses({"trained": 1.0, "folder": 1.0}, seeds=(seed,)).drop(columns=["seed", "unit"])
        write_table(table, path, {"seed": seed, "weights_digests": {"trained": digest, "folder": "same"}})
        paths.append(path)
    units = per_unit(read_refits(paths))
    counts = units[units["sigma"] == 0.1].groupby("model").size()
    assert counts.to_dict() == {"folder": 4, "trained": 2}
    assert set(units.loc[units["model"] == "folder", "unit"]) == {"draw"}


def test_rows_of_a_model_whose_weights_are_unknown_are_refused_and_not_left_out(tmp_path: Path) -> None:
    table = losses({"trained": 1.0, "folder": 1.0}, seeds=(1,)).drop(columns=["seed", "unit"])
    write_table(table, tmp_path / "1.parquet", {"seed": 1, "weights_digests": {"trained": "a"}})
    with pytest.raises(ValueError, match=r"1\.parquet and its like name no weights of model 'folder': perturb"):
        read_refits([tmp_path / "1.parquet"])


def test_areas_are_those_of_the_broken_line_of_each_refit() -> None:
    found = areas(per_unit(losses({"a": 1.0})))
    (values,) = found.values()
    for seed, value in values.items():
        first, second = (10 * sigma * (1 + seed / 10) for sigma in SIGMAS)
        assert value == pytest.approx(0.1 * first / 2 + 0.1 * (first + second) / 2)
    (row,) = sensitivity_rows(per_unit(losses({"a": 1.0})), 0.05)
    assert row["area"] == pytest.approx(np.mean(list(values.values())))
    assert (row["n"], row["unit"]) == (3, "refit")


def test_a_contrast_is_with_the_reference_and_of_duplicated_heads_with_the_model_itself() -> None:
    everything = pd.concat([losses({"a": 1.0, "b": 2.0}), losses({"b": 2.0}, heads="duplicated")])
    rows = {(row["kind"], row["group"]): row for row in contrast_rows(per_unit(everything), "a", SETTINGS)}
    assert set(rows) == {("architecture", "b"), ("duplication", "b")}
    assert rows["architecture", "b"]["ratio_of_means"] == pytest.approx(2)
    assert rows["architecture", "b"]["p_attainable"] == pytest.approx(0.1)
    assert rows["duplication", "b"]["reference"] == "b"
    assert rows["duplication", "b"]["ratio_of_means"] == 1


def test_a_draw_without_a_finite_loss_leaves_its_refit_without_a_mean_and_is_counted() -> None:
    table = losses({"a": 1.0, "b": 2.0})
    broken = table["model"].eq("b") & table["seed"].eq(2) & table["sigma"].eq(0.2) & table["draw"].eq(0)
    table.loc[broken, "delta_nll_nats"] = None
    units = per_unit(table)
    rows = {(row["model"], row["sigma"]): row for row in response_rows(units, 0.05)}
    assert rows["b", 0.1]["delta_nll_nats"] is not None
    assert rows["b", 0.2]["delta_nll_nats"] is None
    assert "1 draws have no finite loss" in rows["b", 0.2]["reason"]
    (contrast,) = contrast_rows(units, "a", SETTINGS)
    assert (contrast["n"], contrast["n_reference"]) == (2, 3)
    assert "units without a finite area, left out: 1" in contrast["reason"]


def test_slopes_are_of_mean_perplexity_and_missing_where_a_text_is() -> None:
    rows = [
        {"model": "a", "heads": "as made", "seed": seed, "draw": 0, "sigma": sigma, "prompt": prompt, "tokens": 3,
         "nll_nats": np.log(2 + 30 * sigma + place), "reason": None}
        for seed in (1, 2) for sigma in (0.0, 0.1, 0.2) for place, prompt in enumerate("xy")
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    table.loc[len(table) - 1, "nll_nats"] = None
    whole, broken = slope_rows(table)
    assert whole["slope"] == pytest.approx(30)
    assert whole["perplexity_smallest_dose"] == pytest.approx(2.5)
    assert broken["slope"] is None
    assert broken["reason"] == "1 texts have no token or no finite probability"


def responses(experiment: str, changes: dict[str, float], seeds=(1, 2), sigmas=(0.05,)) -> pd.DataFrame:
    rows = [
        {"model": model, "heads": "as made", "experiment": experiment, **CELL, "sigma": sigma, "draw": draw,
         "estimator": "hellinger", "clean": 0.5 if "-" not in model else 0.4, "value": 0.5,
         "change_percent": change + seed + draw, "reason": None, "seed": seed}
        for model, change in changes.items() for seed in seeds for sigma in sigmas for draw in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_probe_is_the_mean_over_draws_and_has_a_reading() -> None:
    table = responses("probe", {"a": 0.0, "a-sft": 30.0})
    rows = probe_rows(table, {"a": None, "a-sft": "a"})
    assert rows["change_percent"].tolist() == [1.5, 2.5, 31.5, 32.5]
    assert rows["reading"].tolist() == ["stable", "stable", "suppressed", "suppressed"]
    aligned, suppressed = discrimination_rows(rows, SETTINGS)
    assert (aligned["area"], aligned["n"], aligned["n_reference"]) == (1.0, 2, 2)
    assert suppressed["area"] is None
    table.loc[0, ["value", "change_percent"]] = None
    table.loc[0, "reason"] = "attention of layer 1 is not finite"
    rows = probe_rows(table, {"a": None, "a-sft": "a"})
    assert np.isnan(rows["change_percent"][0])
    assert rows["reason"][0] == "attention of layer 1 is not finite"
    assert pd.isna(rows["reading"][0])


def test_the_demonstration_takes_the_bases_refits_about_their_own_means() -> None:
    table = responses("noise", {"a": 0.0, "b": 500.0}, seeds=(1, 2, 3), sigmas=(0.05, 0.1, 0.2))
    table["change_percent"] += np.random.default_rng(0).normal(size=len(table))
    noise = specialization_response_rows(table)
    (row,) = selection_rows(noise, ("attention_output", "absolute", "all", 0.1), "hellinger", 0.05)
    assert (row["cells"], row["units"]) == (3, 6)
    # What sets a and b apart is out: 500 percentage points would drown everything.
    assert abs(row["best_percent"]) < 5
    assert not list(selection_rows(noise[noise["model"] == "a"], None, "hellinger", 0.05))


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
    curve = [row for row in survival_rows(times, RECURSION, 0.05) if row["seed"] is None]
    steps = {
        arm: [(row["generation"], row["survival"]) for row in curve if row["arm"] == arm] for arm in ("one", "two")
    }
    assert steps["one"] == [(0, 1.0), (1, 0.5), (2, 0.0), (4, 0.0)]
    assert steps["two"] == [(0, 1.0), (4, 0.5)]
    rows = [row for row in duration_rows(times, RECURSION, SETTINGS) if row["seed"] is None]
    assert [row["mean_generations"] for row in rows] == [1.5, 4.0]
    assert rows[1]["difference"] == pytest.approx(2.5)
    assert "reference" not in rows[0]
    assert [(row["n"], row["unit"]) for row in rows] == [(1, "refit"), (1, "refit")]


def test_arms_are_compared_in_pairs_of_refits_where_seeds_agree() -> None:
    rng = np.random.default_rng(0)
    paired = arm_difference({1: 4.0, 2: 5.0, 3: 6.0}, {3: 3.0, 2: 3.0, 1: 3.0}, rng, SETTINGS)
    assert (paired.difference, paired.p, paired.p_attainable) == (2.0, 0.25, 0.25)
    other = arm_difference({1: 4.0, 2: 5.0, 3: 6.0}, {7: 3.0, 8: 3.0, 9: 3.0}, rng, SETTINGS)
    assert (other.difference, other.p) == (2.0, pytest.approx(0.1))


def test_a_refits_mean_is_that_of_kaplan_meier() -> None:
    times = onsets(chains(), RECURSION)
    own = times[times["arm"] == "two"]
    expected = restricted_mean(own["generation"], own["happened"], 4, 0.05).estimate
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
    curve = [row for row in survival_rows(times, RECURSION, 0.05) if row["seed"] is None]
    steps = [(row["generation"], round(row["survival"], 6), row["at_risk"]) for row in curve]
    assert steps == [(0, 1.0, 4), (1, round(2 / 3, 6), 3), (3, 0.0, 1), (4, 0.0, 0)]
    over, own = duration_rows(times, RECURSION, SETTINGS)
    for row in (over, own):
        assert row["mean_generations"] == pytest.approx(1 + 2 * 2 / 3)
        assert (row["degraded_chains"], row["ended_chains"], row["chains"]) == (2, 2, 4)


def test_a_refit_whose_chains_all_end_has_no_mean_and_is_left_out_by_name() -> None:
    states = {("one", seed, prompt): chain for seed, pair in {1: ("000e", "0000e"), 2: ("000000", "111000")}.items()
              for prompt, chain in zip("xy", pair, strict=True)}  # fmt: skip
    times = onsets(ended(states), RECURSION)
    over, first, second = duration_rows(times, RECURSION, SETTINGS)
    assert (first["mean_generations"], second["mean_generations"], over["mean_generations"]) == (None, 2.5, 2.5)
    assert "nobody was followed to 4" in first["reason"]
    assert over["n"] == 1
    assert over["reason"].endswith("refits of which no chain could be followed to generation 4, left out: 1")
    curve = [row for row in survival_rows(times, RECURSION, 0.05) if row["seed"] == 1]
    assert [(row["generation"], row["survival"], row["at_risk"]) for row in curve] == [(0, 1.0, 2), (2, 1.0, 1)]


def test_no_interval_where_no_chain_degraded() -> None:
    whole = chains().assign(degraded=False, seed=1)
    both = pd.concat([whole, whole.assign(seed=2)])
    rows = [row for row in duration_rows(onsets(both, RECURSION), RECURSION, SETTINGS) if row["seed"] is None]
    for row in rows:
        assert (row["mean_generations"], row["ci_low"], row["n"]) == (4.0, None, 2)
        assert row["reason"] == "no chain degraded: nothing varies"


def test_generations_are_means_over_chains_and_undefined_values_are_counted() -> None:
    rows = generation_rows(chains()).set_index(["arm", "generation"])
    assert rows.loc[("one", 1), "degraded"] == 0.5
    assert rows.loc[("one", 1), "distinct_2"] == 1.0
    assert (rows.loc[("one", 1), "undefined"], rows.loc[("one", 1), "chains"]) == (1, 2)
    assert np.isnan(rows.loc[("one", 2), "distinct_2"])
