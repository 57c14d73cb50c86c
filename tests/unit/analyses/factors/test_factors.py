"""Factors of a made-up set of models whose effects are known."""

from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm
from report_examples import example_study
from specialization_examples import METADATA

from headwise.analyses.factors.analyse import Change, analyse_factors, levels_of
from headwise.analyses.factors.jobs import factor_arguments
from headwise.analyses.factors.report.part import factor_findings, order_sentence, passages, share_chart
from headwise.analyses.factors.rows import FactorRow, Outcome
from headwise.runtime.parquet import write_table
from headwise.study.comparison import Comparison
from headwise.study.parse import parse_study
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


def analyse(paths, folder, settings=None, changes=(), outcome=Outcome.EFFECT):
    analyse_factors(paths, folder / "factors.parquet", settings or Comparison(), changes, outcome)
    return pd.read_parquet(folder / "factors.parquet")


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("factors")
    paths, rows = write_models(folder)
    return analyse(paths, folder, Comparison(level=0.01)), rows


def write_arms(folder):
    """Bases, arms by two methods and their placebos, whose effects are known: alignment by dpo where there is a window
    gives 0.03, by sft 0.01 everywhere; a placebo 0.002."""
    rng, paths, changes = np.random.default_rng(2), [], set()
    for window, attention, seed in product([None, 8], ["multi-head", "grouped-query"], range(6)):
        base = f"{window}-{attention}"
        level = 0.5 + 0.2 * (window is not None) + 0.02 * rng.normal()
        gains = {None: 0.0, "sft": 0.012, "sft_placebo": 0.002, "dpo": 0.002, "dpo_placebo": 0.002}
        gains["dpo"] += 0.03 * (window is not None)
        for method, gain in gains.items():
            name = base if method is None else f"{base}-{method}"
            metadata = {
                "model": name,
                "base": None if method is None else base,
                "method": method,
                "seed": seed,
                "source": "train" if method is None else "align",
                "weights_digest": f"{name} {seed}",
                "architecture": architecture(window, attention, 64),
            }
            paths.append(folder / f"{name}-{seed}.parquet")
            summary = [{"estimator": "hellinger", "sink": "kept", "scope": "model", "value": level + gain}]
            write_table(pa.Table.from_pylist(summary), paths[-1], METADATA | metadata)
        changes |= {(f"{base}-{method}", f"{base}-{method}_placebo") for method in ("sft", "dpo")}
    return paths, [Change(*pair) for pair in sorted(changes)]


def test_what_alignment_changes_is_decomposed_beside_levels(tmp_path):
    paths, changes = write_arms(tmp_path)
    table = analyse(paths, tmp_path, changes=changes)
    effect, level = (table[table["outcome"] == name] for name in ("effect", "level"))
    assert (set(effect["n"]), set(level["n"])) == ({48}, {120})
    assert set(effect["clusters"]) == set(level["clusters"]) == {24}
    # Levels differ by the window; effects by the window and the method alike: window 0.03, none 0, sft 0.01 in both.
    shares = {
        kind: own[own["quantity"] == "share"].set_index("factor")["estimate"] for kind, own in table.groupby("outcome")
    }
    assert shares["level"]["window"] > 0.9
    values = np.array([0.03, 0.01, 0.0, 0.01])  # dpo and sft with a window, dpo and sft without
    sums = [np.ptp([values[:2].mean(), values[2:].mean()]), np.ptp([values[::2].mean(), values[1::2].mean()])]
    total = ((values - values.mean()) ** 2).sum()
    for factor, difference in zip(("window", "training"), sums, strict=True):
        assert shares["effect"][factor] == pytest.approx(difference**2 / total, abs=1e-6)
    assert shares["effect"]["attention"] == pytest.approx(0, abs=1e-6)
    study, tables = example_study(), {"factors": typed(FactorRow, table)}
    first, second = factor_findings(study, tables)
    assert "effect of alignment (arm − placebo)" in first.numbers
    assert "over 48 pairs of models" in first.numbers
    assert first.headline
    assert "not with what alignment does" in second.numbers
    assert not second.headline


def test_a_refit_without_its_placebo_is_no_effect(tmp_path):
    paths, changes = write_arms(tmp_path)
    kept = [path for path in paths if path.name != "None-multi-head-dpo_placebo-3.parquet"]
    assert set(analyse(kept, tmp_path, changes=changes).query("outcome == 'effect'")["n"]) == {47}


def study_of(models):
    return parse_study({"name": "some", "prompts": {"path": "p"}, "models": models}, "example.yaml")


def test_arms_are_set_against_placebos_at_one_dose_and_others_against_bases():
    base = {"name": "base", "source": "train"}
    arms = [
        {"name": f"{method}{dose}{placebo}", "source": "align", "base": "base", "method": method, "dose": dose}
        | ({"placebo": True} if placebo else {})
        for method, dose, placebo in [("dpo", 1, ""), ("dpo", 1, "p"), ("dpo", 3, ""), ("dpo", 3, "p"), ("sft", 1, "")]
    ]
    told = factor_arguments(study_of([base, *arms]))
    assert (told["changes"], told["outcome"]) == ([{"model": "dpo1", "against": "dpo1p"}], "effect")
    told = factor_arguments(study_of([base, arms[0], arms[4]]))
    assert told["changes"] == [{"model": "dpo1", "against": "base"}, {"model": "sft1", "against": "base"}]
    assert told["outcome"] == "change"


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
    assert set(analyse(paths, tmp_path)["design"]) == {"descriptive"}


def test_factors_of_one_level_and_repeated_weights_do_not_count(tmp_path):
    paths, _ = write_models(tmp_path)
    bases = [path for number, path in enumerate(paths) if number % 4 == 0 and number < 12]
    table = analyse([*bases, *bases], tmp_path)
    assert set(table.loc[table["quantity"] == "share", "factor"]) == {"scale"}
    assert set(table["n"]) == {3}
    assert analyse(bases[:1], tmp_path).empty


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
    assert "window 0." in finding.numbers
    (passage,) = passages(study, tables)
    assert passage.views[0][0].rows[0][:4] == ["level", "training", "sft", "base"]
    assert "causal" in passage.paragraphs[0]
    assert len(share_chart(study, tables, levels=True)) == tables["factors"]["estimator"].nunique()
    assert share_chart(study, tables) is None
    empty = {"factors": typed(FactorRow, pd.DataFrame())}
    assert list(factor_findings(study, empty)) == list(passages(study, empty)) == []
    assert share_chart(study, empty) is None
