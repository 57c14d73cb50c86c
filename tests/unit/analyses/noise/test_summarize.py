"""From rows of single refits to tables: means, units, and values that are missing, against numbers made by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headwise.analyses.noise.rows import LossUnderNoise
from headwise.analyses.noise.summarize_losses import (
    areas,
    contrast_rows,
    per_unit,
    read_refits,
    response_rows,
    sensitivity_rows,
    slope_rows,
)
from headwise.analyses.noise.summarize_responses import (
    discrimination_rows,
    probe_rows,
    selection_rows,
    specialization_response_rows,
)
from headwise.study.comparison import Comparison
from headwise.tables.files import write_rows

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
        write_rows(
            LossUnderNoise, table, path, {"seed": seed, "weights_digests": {"trained": digest, "folder": "same"}}
        )
        paths.append(path)
    units = per_unit(read_refits(LossUnderNoise, paths))
    counts = units[units["sigma"] == 0.1].groupby("model").size()
    assert counts.to_dict() == {"folder": 4, "trained": 2}
    assert set(units.loc[units["model"] == "folder", "unit"]) == {"draw"}


def test_rows_of_a_model_whose_weights_are_unknown_are_refused_and_not_left_out(tmp_path: Path) -> None:
    table = losses({"trained": 1.0, "folder": 1.0}, seeds=(1,)).drop(columns=["seed", "unit"])
    write_rows(LossUnderNoise, table, tmp_path / "1.parquet", {"seed": 1, "weights_digests": {"trained": "a"}})
    with pytest.raises(ValueError, match=r"1\.parquet and its like name no weights of model 'folder': perturb"):
        read_refits(LossUnderNoise, [tmp_path / "1.parquet"])


def test_areas_are_those_of_the_broken_line_of_each_refit() -> None:
    found = areas(per_unit(losses({"a": 1.0})))
    (values,) = found.values()
    for seed, value in values.items():
        first, second = (10 * sigma * (1 + seed / 10) for sigma in SIGMAS)
        assert value == pytest.approx(0.1 * first / 2 + 0.1 * (first + second) / 2)
    (row,) = sensitivity_rows(per_unit(losses({"a": 1.0})), 0.05)
    assert row.area == pytest.approx(np.mean(list(values.values())))
    assert (row.n, row.unit) == (3, "refit")


def test_a_contrast_is_with_the_reference_and_of_duplicated_heads_with_the_model_itself() -> None:
    everything = pd.concat([losses({"a": 1.0, "b": 2.0}), losses({"b": 2.0}, heads="duplicated")])
    rows = {(row.kind, row.group): row for row in contrast_rows(per_unit(everything), "a", SETTINGS)}
    assert set(rows) == {("architecture", "b"), ("duplication", "b")}
    assert rows["architecture", "b"].ratio_of_means == pytest.approx(2)
    assert rows["architecture", "b"].p_attainable == pytest.approx(0.1)
    assert rows["duplication", "b"].reference == "b"
    assert rows["duplication", "b"].ratio_of_means == 1


def test_a_draw_without_a_finite_loss_leaves_its_refit_without_a_mean_and_is_counted() -> None:
    table = losses({"a": 1.0, "b": 2.0})
    broken = table["model"].eq("b") & table["seed"].eq(2) & table["sigma"].eq(0.2) & table["draw"].eq(0)
    table.loc[broken, "delta_nll_nats"] = None
    units = per_unit(table)
    rows = {(row.model, row.sigma): row for row in response_rows(units, 0.05)}
    assert rows["b", 0.1].delta_nll_nats is not None
    assert rows["b", 0.2].delta_nll_nats is None
    assert "1 draws have no finite loss" in rows["b", 0.2].reason
    (contrast,) = contrast_rows(units, "a", SETTINGS)
    assert (contrast.n, contrast.n_reference) == (2, 3)
    assert "units without a finite area, left out: 1" in contrast.reason


def test_slopes_are_of_mean_perplexity_and_missing_where_a_text_is() -> None:
    rows = [
        {"model": "a", "heads": "as made", "seed": seed, "draw": 0, "sigma": sigma, "prompt": prompt, "tokens": 3,
         "nll_nats": np.log(2 + 30 * sigma + place), "reason": None}
        for seed in (1, 2) for sigma in (0.0, 0.1, 0.2) for place, prompt in enumerate("xy")
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    table.loc[len(table) - 1, "nll_nats"] = None
    whole, broken = slope_rows(table)
    assert whole.slope == pytest.approx(30)
    assert whole.perplexity_smallest_dose == pytest.approx(2.5)
    assert broken.slope is None
    assert broken.reason == "1 texts have no token or no finite probability"


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
    assert (aligned.area, aligned.n, aligned.n_reference) == (1.0, 2, 2)
    assert suppressed.area is None
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
    assert (row.cells, row.units) == (3, 6)
    # What sets a and b apart is out: 500 percentage points would drown everything.
    assert abs(row.best_percent) < 5
    assert not list(selection_rows(noise[noise["model"] == "a"], None, "hellinger", 0.05))
