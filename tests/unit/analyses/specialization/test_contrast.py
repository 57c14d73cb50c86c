"""Contrasts between models against computation by hand."""

from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats
import statsmodels.api as sm
from specialization_examples import METADATA

from headwise.analyses.specialization.contrast import contrast_models
from headwise.runtime.parquet import read_metadata, write_table
from headwise.statistics.effects import random_effects
from headwise.study.comparison import Comparison

pytestmark = pytest.mark.filterwarnings("error")

COLUMNS = [
    *("kind", "estimator", "sink", "method", "group", "reference", "estimate", "ci_low", "ci_high"),
    *("p", "p_attainable", "n", "n_reference", "unit", "test"),
    *("at_equal_loss", "at_equal_loss_low", "at_equal_loss_high"),
    *("tau", "prediction_low", "prediction_high", "reason"),
]
SEEDS = (1, 2, 3)
VALUES = {"multi_head": [0.30, 0.31, 0.33], "grouped": [0.41, 0.40, 0.44], "window": [0.31, 0.32, 0.29]}
DELTAS = {"multi_head": [0.02, 0.03, 0.01], "grouped": [-0.05, -0.06, -0.04], "window": [0.01, -0.01, 0.02]}


def write_summary(path, model, seed, value, base=None, weights=None):
    rows = [
        {"estimator": "hellinger", "sink": "kept", "scope": "model", "layer": None, "value": value},
        {"estimator": "hellinger", "sink": "kept", "scope": "layer", "layer": 0, "value": 9.0},
    ]
    metadata = {"model": model, "seed": seed, "base": base, "weights_digest": weights or f"{model} {seed}"}
    write_table(pa.Table.from_pylist(rows), path, METADATA | metadata)
    return path


def write_comparison(path, base, deltas, method="sft", refits=SEEDS):
    shared = {"base": base, "family": base, "method": method, "estimator": "hellinger", "sink": "kept"}
    rows = [
        shared | {"scope": "refit", "level": "model", "seed": seed, "delta_absolute": delta}
        for seed, delta in zip(SEEDS, deltas, strict=True)
    ]
    rows.append(shared | {"scope": "refits", "level": "model", "seed": None, "delta_absolute": 9.0})
    rows.append(shared | {"scope": "refit", "level": "layer", "seed": 1, "delta_absolute": 9.0})
    write_table(pa.Table.from_pylist(rows), path, {"study": "example", "prompts_digest": "p", "refits": list(refits)})
    return path


def write_curve(path, model, seed, loss):
    rows = [
        {"step": step, "split": split, "loss_nats": value}
        for step, split, value in [(0, "held_out", 9.0), (5, "train", 1.0), (10, "held_out", loss), (10, "train", 2.0)]
    ]
    write_table(pa.Table.from_pylist(rows), path, {"model": model, "seed": seed})
    return path


def contrast(folder, values=VALUES, deltas=DELTAS, reference="multi_head", losses=None, **options):
    summaries = [
        write_summary(folder / f"{model}{seed}.parquet", model, seed, value)
        for model, numbers in values.items()
        for seed, value in zip(SEEDS, numbers, strict=True)
    ]
    summaries.append(write_summary(folder / "aligned.parquet", "multi_head-sft", 1, 0.7, base="multi_head"))
    comparisons = [
        write_comparison(folder / f"{base}.comparison.parquet", base, numbers, **options)
        for base, numbers in deltas.items()
    ]
    curves = [
        write_curve(folder / f"{model}{seed}.curve.parquet", model, seed, loss)
        for model, own in (losses or {}).items()
        for seed, loss in zip(SEEDS, own, strict=True)
    ]
    settings = {"reference": reference, "settings": Comparison(), "curves": curves}
    contrast_models(summaries, comparisons, folder / "k.parquet", **settings)
    return pd.read_parquet(folder / "k.parquet")


def test_columns(tmp_path):
    contrast(tmp_path)
    assert pq.read_schema(tmp_path / "k.parquet").names == COLUMNS


@pytest.mark.parametrize(("kind", "numbers"), [("architecture", VALUES), ("alignment_difference", DELTAS)])
def test_differences_from_the_reference_by_hand(tmp_path, kind, numbers):
    table = contrast(tmp_path)
    rows = table[table.kind == kind].set_index("group")
    assert list(rows.index) == ["grouped", "window"]
    reference = np.array(numbers["multi_head"])
    for group, row in rows.iterrows():
        ours = np.array(numbers[group])
        pooled = np.concatenate([ours, reference])
        splits = [list(members) for members in combinations(range(6), 3)]
        distances = np.array([abs(pooled[s].mean() - np.delete(pooled, s).mean()) for s in splits])
        assert row.estimate == pytest.approx(ours.mean() - reference.mean())
        assert row.p == np.mean(distances >= distances[0] - 1e-12)
        assert (row.p_attainable, row.n, row.n_reference, row.unit) == (0.1, 3, 3, "refit")
        expected = scipy.stats.ttest_ind(ours, reference, equal_var=False).confidence_interval(0.95)
        assert (row.ci_low, row.ci_high) == pytest.approx((expected.low, expected.high))
        assert pd.isna(row.method) if kind == "architecture" else row.method == "sft"
    assert rows.loc["grouped", "p"] == 0.1


def test_architectures_are_contrasted_at_equal_loss_as_well(tmp_path):
    losses = {"multi_head": [3.6, 3.7, 3.65], "grouped": [3.75, 3.72, 3.8]}
    rows = contrast(tmp_path, losses=losses).set_index(["kind", "group"])
    design = np.column_stack(
        [np.ones(6), np.repeat([1.0, 0.0], 3), np.concatenate([losses["grouped"], losses["multi_head"]])]
    )
    fitted = sm.OLS(np.concatenate([VALUES["grouped"], VALUES["multi_head"]]), design).fit()
    row = rows.loc["architecture", "grouped"]
    assert row.at_equal_loss == pytest.approx(fitted.params[1])
    assert (row.at_equal_loss_low, row.at_equal_loss_high) == pytest.approx(tuple(fitted.conf_int(0.05)[1]))
    assert row.estimate == pytest.approx(np.mean(VALUES["grouped"]) - np.mean(VALUES["multi_head"]))
    # Without a loss there is nothing to say, and other contrasts have none.
    others = rows.drop(index=("architecture", "grouped"))
    assert others.at_equal_loss.isna().all()


def test_pooled_changes_by_hand(tmp_path):
    table = contrast(tmp_path)
    rows = table[table.kind == "alignment_pooled"].set_index("unit")
    everything = np.concatenate(list(DELTAS.values()))
    means = np.array([np.mean(numbers) for numbers in DELTAS.values()])
    for unit, units, attainable in (("refit", everything, 2**-8), ("family", means, 0.25)):
        row = rows.loc[unit]
        assert row.estimate == pytest.approx(units.mean())
        expected = scipy.stats.ttest_1samp(units, 0)
        ends = expected.confidence_interval(0.95)
        assert (row.ci_low, row.ci_high) == pytest.approx((ends.low, ends.high))
        assert (row.n, row.p_attainable, row.group, row.method) == (len(units), attainable, "all", "sft")
        assert pd.isna(row.reference)


def test_refits_are_paired_by_seed(tmp_path):
    table = contrast(tmp_path)
    rows = table[table.kind == "architecture_by_seed"].set_index("group")
    differences = np.array(VALUES["grouped"]) - VALUES["multi_head"]
    expected = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    row = rows.loc["grouped"]
    assert (row.ci_low, row.ci_high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert (row.n, row.p, row.p_attainable, row.unit) == (3, 0.25, 0.25, "seed")


def test_families_weighted_by_their_errors_and_left_out_one_by_one(tmp_path):
    table = contrast(tmp_path)
    means = {base: np.mean(numbers) for base, numbers in DELTAS.items()}
    errors = [np.std(numbers, ddof=1) / np.sqrt(3) for numbers in DELTAS.values()]
    expected = random_effects(list(means.values()), errors, 0.05)
    (row,) = table[table.kind == "alignment_random_effects"].to_dict("records")
    for name in ("estimate", "p", "tau", "prediction_low", "prediction_high"):
        assert row[name] == pytest.approx(getattr(expected, name), rel=1e-12)
    without = table[table.kind == "alignment_without_family"].set_index("group")
    for base in DELTAS:
        others = [means[other] for other in DELTAS if other != base]
        assert without.loc[base, "estimate"] == pytest.approx(np.mean(others))
        assert without.loc[base, "p_attainable"] == 0.5


def test_models_measured_on_different_prompts_are_refused(tmp_path):
    one = write_summary(tmp_path / "a", "multi_head", 1, 0.3)
    metadata = METADATA | {"model": "grouped", "seed": 1, "weights_digest": "g", "prompts_digest": "other"}
    write_table(pq.read_table(one), tmp_path / "b", metadata)
    with pytest.raises(ValueError, match=r"a and .*b cannot be contrasted: they were measured on different prompts"):
        contrast_models([one, tmp_path / "b"], [], tmp_path / "k", reference="multi_head", settings=Comparison())


def test_the_weights_are_recorded(tmp_path):
    contrast(tmp_path)
    assert read_metadata(tmp_path / "k.parquet")["weights_digests"]["grouped seed 2"] == "grouped 2"


def test_methods_are_contrasted_apart(tmp_path):
    first = write_comparison(tmp_path / "a", "multi_head", DELTAS["multi_head"])
    second = write_comparison(tmp_path / "b", "grouped", DELTAS["grouped"], method="dpo")
    contrast_models([], [first, second], tmp_path / "k", reference="multi_head", settings=Comparison())
    table = pd.read_parquet(tmp_path / "k")
    pooled = table[(table.kind == "alignment_pooled") & (table.unit == "refit")].set_index("method")
    assert pooled.loc["sft", "estimate"] == pytest.approx(0.02)
    assert pooled.loc["dpo", "estimate"] == pytest.approx(-0.05)
    # The reference has no model aligned by dpo: nothing to compare with, and the row says so.
    row = table[table.kind == "alignment_difference"].iloc[0]
    assert (row.method, row.n_reference) == ("dpo", 0)
    assert np.isnan(row.p)
    assert "the second sample has no unit" in row.reason


def test_seeds_that_change_no_weights_are_no_refits(tmp_path):
    summaries = [
        write_summary(tmp_path / f"{model}{seed}", model, seed, value, weights=f"{model}")
        for model, value in (("multi_head", 0.3), ("grouped", 0.4))
        for seed in SEEDS
    ]
    comparison = write_comparison(tmp_path / "c", "multi_head", [0.1, 0.1, 0.1], refits=[1])
    contrast_models(summaries, [comparison], tmp_path / "k", reference="multi_head", settings=Comparison())
    table = pd.read_parquet(tmp_path / "k")
    row = table[table.kind == "architecture"].iloc[0]
    assert (row.n, row.n_reference, row.p) == (1, 1, 1)
    assert np.isnan(row.ci_low)
    assert table[(table.kind == "alignment_pooled")]["n"].tolist() == [1, 1]


def test_undefined_values_are_left_out_with_a_reason(tmp_path):
    table = contrast(tmp_path, {"multi_head": [0.3, None, 0.4], "grouped": [None] * 3}, {})
    row = table.iloc[0]
    assert (row.n, row.n_reference) == (0, 2)
    assert np.isnan(row.estimate)
    assert row.reason == "the first sample has no unit with a finite value; a sample without a finite value"


def test_a_reference_that_was_not_measured_is_refused(tmp_path):
    with pytest.raises(ValueError, match="reference model 'other': choose from grouped, multi_head, window"):
        contrast(tmp_path, reference="other")


def test_the_same_input_gives_the_same_bytes(tmp_path):
    contents = []
    for _ in range(2):
        contrast(tmp_path)
        contents.append((tmp_path / "k.parquet").read_bytes())
    assert contents[0] == contents[1]


def test_a_study_of_one_model_has_no_contrasts(tmp_path):
    assert contrast(tmp_path, {"multi_head": VALUES["multi_head"]}, {}).empty
