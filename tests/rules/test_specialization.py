"""Rules evaluate_specialization, compare_pair and contrast_models."""

from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headwise.analyses.specialization.settings import Specialization
from headwise.study.study import Study
from rules.conftest import Measurement

Measure = Callable[[str, int], Measurement]


def squared_hellinger(stored: pd.DataFrame) -> float:
    """SCIENCE's definition with plain loops: mean over prompts, layers, pairs of heads and rows after the first."""
    values = []
    for _, layer in stored.groupby(["prompt", "layer"]):
        patterns = []
        for row in layer.itertuples():
            full = np.zeros((row.tokens, row.tokens))
            full[np.tril_indices(row.tokens)] = row.weights
            patterns.append(full)
        pairs = [
            np.mean(
                [
                    1 - sum(np.sqrt(p * q) for p, q in zip(*rows, strict=True))
                    for rows in list(zip(a, b, strict=True))[1:]
                ]
            )
            for a, b in combinations(patterns, 2)
        ]
        values.append(np.mean(pairs))
    return float(np.mean(values))


def model_value(summary: Path, estimator: str = "hellinger", sink: str = "kept") -> float:
    table = pd.read_parquet(summary)
    chosen = table[(table["estimator"] == estimator) & (table["sink"] == sink) & (table["scope"] == "model")]
    assert len(chosen) == 1
    return float(chosen["value"].iloc[0])


def test_the_primary_estimator_equals_plain_loops_over_stored_attention(measure: Measure) -> None:
    made = measure("multi_head", 1)
    # The stored attention is float16; statistics were computed from float32.
    assert model_value(made.summary) == pytest.approx(squared_hellinger(pd.read_parquet(made.tensors)), abs=1e-3)


def test_every_estimator_is_evaluated(measure: Measure, study: Study) -> None:
    table = pd.read_parquet(measure("multi_head", 1).summary)
    values = table[(table["scope"] == "model") & (table["sink"] == "kept")].set_index("estimator")["value"]
    assert set(values.index) == set(study.section(Specialization).estimators)
    assert values.notna().all()


def test_the_change_in_a_refit_and_its_sign_flip_p(comparison: Path, measure: Measure) -> None:
    table = pd.read_parquet(comparison)
    chosen = table[(table["estimator"] == "hellinger") & (table["sink"] == "kept") & (table["level"] == "model")]
    row = chosen[(chosen["scope"] == "refit") & (chosen["seed"] == 1)].iloc[0]
    base, aligned = (model_value(measure(name, 1).summary) for name in ("multi_head", "multi_head-sft"))
    assert row["delta_absolute"] == pytest.approx(aligned - base, abs=1e-12)
    assert row["delta_relative"] == pytest.approx((aligned - base) / base, abs=1e-9)

    def per_prompt(path: Path) -> np.ndarray:
        features = pd.read_parquet(path)
        kept = features[(features["estimator"] == "hellinger") & (features["sink"] == "kept")]
        return kept.groupby("prompt")["value"].mean().sort_index().to_numpy()

    differences = per_prompt(measure("multi_head-sft", 1).features) - per_prompt(measure("multi_head", 1).features)
    flips = np.array(list(product([1, -1], repeat=12)))
    means = np.abs(flips @ differences)
    assert row["n"] == 12
    assert row["p"] == pytest.approx(np.mean(means >= abs(differences.sum()) * (1 - 1e-9)), abs=1e-12)
    assert row["p_attainable"] == pytest.approx(2 / 2**12)


def test_contrasts_take_refits_as_the_unit(measure: Measure, contrasts: Path) -> None:
    table = pd.read_parquet(contrasts)
    rows = table[(table["kind"] == "architecture") & (table["estimator"] == "hellinger") & (table["sink"] == "kept")]
    row = rows[rows["group"] == "grouped_query"].iloc[0]
    reference = np.mean([model_value(measure("multi_head", seed).summary) for seed in (1, 2)])
    assert row["estimate"] == pytest.approx(model_value(measure("grouped_query", 1).summary) - reference, abs=1e-12)
    assert (row["n"], row["n_reference"]) == (1, 2)
    assert row["p_attainable"] >= 1 / 3
    assert row["unit"] == "refit"
