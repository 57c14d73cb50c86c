"""Factors of a made-up set of models whose effects are known."""

from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm
from report_examples import example_study
from specialization_examples import METADATA

from headwise.analyses.factors.analyse import analyse_factors, levels_of
from headwise.analyses.factors.report.part import factor_findings, order_sentence, passages, share_chart
from headwise.analyses.factors.rows import FactorRow
from headwise.runtime.parquet import write_table
from headwise.study.comparison import Comparison
from headwise.tables.frame import typed

EFFECTS = {"window": 0.2, "grouped-query": -0.1, "sft": 0.02, "scale": 0.05}


def architecture(window, attention, hidden):
    return {"attention": attention, "layers": 4, "hidden": hidden, "windows": [window] * 4, "parameters": 1000}


def write_models(folder, noise=0.001, source="train", estimator="hellinger"):
    rng, paths, rows = np.random.default_rng(1), [], []
    crossed = product([None, 8], ["multi-head", "grouped-query"], [32, 64, 128], [None, "sft"], [1, 2])
    for number, (window, attention, hidden, method, seed) in enumerate(crossed):
        base = f"{window}-{attention}-{hidden}"
        value = 0.5 + EFFECTS["window"] * (window is not None) + EFFECTS["sft"] * (method is not None)
        value += EFFECTS["grouped-query"] * (attention != "multi-head")
        value += EFFECTS["scale"] * np.log10(hidden**2) + noise * rng.normal()
        rows.append((window is not None, attention != "multi-head", method is not None, np.log10(hidden**2), value))
        metadata = {
            "model": base if method is None else f"{base}-sft",
            "base": None if method is None else base,
            "method": method,
            "seed": seed,
            "source": source if method is None else "align",
            "weights_digest": str(number),
            "architecture": architecture(window, attention, hidden),
        }
        paths.append(folder / f"{number}.parquet")
        summary = [{"estimator": estimator, "sink": "kept", "scope": "model", "value": value}]
        write_table(pa.Table.from_pylist(summary), paths[-1], METADATA | metadata)
    return paths, np.array(rows, dtype=float)


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("factors")
    paths, rows = write_models(folder)
    analyse_factors(paths, folder / "factors.parquet", Comparison(level=0.01))
    return pd.read_parquet(folder / "factors.parquet"), rows


def test_effects_are_those_of_least_squares(analysed):
    table, rows = analysed
    fitted = sm.OLS(rows[:, 4], sm.add_constant(rows[:, :4])).fit().params[1:]
    effects = table[table["quantity"] == "effect"].set_index("factor")["estimate"]
    assert effects[["window", "attention", "training", "scale"]].tolist() == pytest.approx(fitted.tolist())
    known = [EFFECTS[name] for name in ("window", "grouped-query", "sft", "scale")]
    assert effects[["window", "attention", "training", "scale"]].tolist() == pytest.approx(known, abs=0.002)


def test_intervals_hold_the_true_effects(analysed):
    table, _ = analysed
    effects = table[table["quantity"] == "effect"].set_index("factor")
    for factor, name in (("window", "window"), ("attention", "grouped-query"), ("training", "sft"), ("scale", "scale")):
        row = effects.loc[factor]
        assert row["ci_low"] <= EFFECTS[name] <= row["ci_high"]
        assert row["p"] == row["p_attainable"]
    assert (effects.loc["window", "level"], effects.loc["window", "reference_level"]) == ("8 tokens", "none")
    assert effects.loc["training", "reference_level"] == "base"


def test_shares_order_and_design(analysed):
    table, rows = analysed
    shares = table[table["quantity"] == "share"].set_index("factor")["estimate"]
    explained = table[table["quantity"] == "explained"].iloc[0]
    assert shares.sum() == pytest.approx(explained["estimate"])
    # Crossed and balanced: a share is the factor's own sum of squares.
    for position, factor in ((0, "window"), (1, "attention"), (2, "training")):
        assert shares[factor] == pytest.approx(np.corrcoef(rows[:, position], rows[:, 4])[0, 1] ** 2, abs=1e-6)
    order = table[table["quantity"] == "order"].iloc[0]
    assert order["factor"] == "window > attention > scale > training"
    assert order["estimate"] > 0.9
    assert order["design"] == "by design"
    assert (order["n"], order["clusters"]) == (48, 24)
    assert not order["claimed"]


def test_models_made_by_others_are_described(tmp_path):
    paths, _ = write_models(tmp_path, source="hub")
    analyse_factors(paths, tmp_path / "factors.parquet", Comparison())
    assert set(pd.read_parquet(tmp_path / "factors.parquet")["design"]) == {"descriptive"}


def test_factors_of_one_level_and_repeated_weights_do_not_count(tmp_path):
    paths, _ = write_models(tmp_path)
    bases = [path for number, path in enumerate(paths) if number % 4 == 0 and number < 12]
    analyse_factors([*bases, *bases], tmp_path / "factors.parquet", Comparison())
    table = pd.read_parquet(tmp_path / "factors.parquet")
    assert set(table.loc[table["quantity"] == "share", "factor"]) == {"scale"}
    assert set(table["n"]) == {3}
    analyse_factors(bases[:1], tmp_path / "one.parquet", Comparison())
    assert pd.read_parquet(tmp_path / "one.parquet").empty


def test_levels_of_a_model():
    metadata = {"method": None, "architecture": architecture(8, "multi-query", 100)}
    assert levels_of(metadata) == {
        "training": "base",
        "data": "corpus",
        "window": "8 tokens",
        "attention": "multi-query",
        "scale": pytest.approx(np.log10(40_000)),
    }


@pytest.mark.parametrize(
    ("base", "method", "level"), [(None, None, "base"), ("a", "dpo", "dpo"), ("a", None, "unnamed alignment")]
)
def test_a_model_that_descends_from_another_is_no_base_whatever_its_method_is_called(base, method, level):
    metadata = {"base": base, "method": method, "architecture": architecture(None, "multi-head", 100)}
    assert levels_of(metadata)["training"] == level


def test_the_claimed_order_is_recognised():
    found = {"distinguishable": True, "claimed": True}
    assert "it is the claimed one (training > window)" in order_sentence(found, ["training", "data", "window"])
    other = order_sentence({"distinguishable": False, "claimed": False}, ["window", "training"])
    assert other == "The order cannot be told from chance"
    other = order_sentence({"distinguishable": True, "claimed": False}, ["window", "training"])
    assert "it is not the claimed one" in other


def test_the_report_shows_effects_and_shares(analysed):
    study, tables = example_study(), {"factors": typed(FactorRow, analysed[0])}
    (finding,) = factor_findings(study, tables)
    assert "window 0." in finding.sentence
    (passage,) = passages(study, tables)
    assert passage.views[0][0].rows[0][:3] == ["training", "sft", "base"]
    assert "causal" in passage.paragraphs[0]
    assert share_chart(study, tables).to_dict()["spec"]
    empty = {"factors": typed(FactorRow, pd.DataFrame())}
    assert list(factor_findings(study, empty)) == list(passages(study, empty)) == []
    assert share_chart(study, empty) is None
