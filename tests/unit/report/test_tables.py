"""Tables of the report: adjustment by hand, roles, verdicts, identity of files, CSV against Parquet."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import ESTIMATORS, Measured, build_tables, example_study, write_inputs
from scipy.stats import spearmanr

from headwise.analyses.specialization.rows import TABLES as SPECIALIZATION
from headwise.report.model_facts import models_table
from headwise.report.parts import TABLES
from headwise.report.rows import NEVER_DECIDED
from headwise.report.rows import TABLES as MODELS
from headwise.report.tables import ReportError, read_tables, table_metadata, write_tables
from headwise.report.verdicts import adjust, in_words, verdict
from headwise.runtime.parquet import read_metadata, write_table
from headwise.runtime.provenance import file_digest
from headwise.study.comparison import Comparison
from headwise.study.study import Study, study_model
from headwise.tables.cells import TableError
from headwise.tables.frame import DTYPES, typed_columns

STUDY = example_study()
HYBRID = {"name": "hybrid", "source": "folder", "path": "models/hybrid"}
SEED = 20260729


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return write_inputs(STUDY, tmp_path_factory.mktemp("inputs"), np.random.default_rng(SEED))


@pytest.fixture(scope="module")
def tables(inputs: Measured) -> dict[str, pd.DataFrame]:
    return build_tables(STUDY, inputs)


def holm_by_hand(p_values: list[float]) -> list[float]:
    """Holm 1979: the k-th smallest of m p-values times m − k + 1, never below an earlier one, at most 1."""
    adjusted, floor = {}, 0.0
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for rank, place in enumerate(order):
        floor = max(floor, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = floor
    return [adjusted[place] for place in range(len(p_values))]


def benjamini_hochberg_by_hand(p_values: list[float]) -> list[float]:
    """Benjamini & Hochberg 1995: the smallest m p / rank over all p-values that are at least as large."""
    ordered = sorted(p_values)
    count = len(p_values)
    scaled = [(p, count * p / (rank + 1)) for rank, p in enumerate(ordered)]
    return [min(1.0, min(value for other, value in scaled if other >= p)) for p in p_values]


def test_confirmatory_tests_are_the_declared_ones_and_no_others(tables: dict[str, pd.DataFrame]) -> None:
    tests = tables["comparisons"]
    confirmatory = tests[tests["role"] == "confirmatory"]
    expected = {(model.name, seed) for model in STUDY.descendants() for seed in STUDY.seeds_of(model)}
    assert set(zip(confirmatory["aligned"], confirmatory["seed"], strict=True)) == expected
    assert len(confirmatory) == len(expected)
    for column, value in (("estimator", "hellinger"), ("sink", "kept"), ("level", "model"), ("scope", "refit")):
        assert set(confirmatory[column]) == {value}


def confirmatory_p(tables: dict[str, pd.DataFrame], column: str) -> list[float]:
    """A column of p-values of all confirmatory tests: comparisons, then contrasts."""
    parts = [table.loc[table["role"] == "confirmatory", column] for table in confirmatory_tables(tables)]
    return [float(p) for part in parts for p in part]


def confirmatory_tables(tables: dict[str, pd.DataFrame]) -> list[pd.DataFrame]:
    return [tables["comparisons"], tables["contrasts"]]


def test_confirmatory_tests_are_one_set_for_holm(tables: dict[str, pd.DataFrame]) -> None:
    expected = holm_by_hand(confirmatory_p(tables, "p"))
    np.testing.assert_allclose(confirmatory_p(tables, "p_adjusted"), expected, rtol=1e-12)
    for table in confirmatory_tables(tables):
        adjustment = table.loc[table["role"] == "confirmatory", "adjustment"]
        assert set(adjustment) == {f"Holm over {len(expected)} tests"}
    tests = tables["comparisons"]
    confirmatory = tests[tests["role"] == "confirmatory"]
    np.testing.assert_allclose(
        confirmatory["p_equivalence_adjusted"], holm_by_hand(list(confirmatory["p_equivalence"])), rtol=1e-12
    )


def test_what_the_study_does_not_declare_is_exploratory(inputs: Measured) -> None:
    chosen = example_study(confirmatory=["alignment_pooled"])
    tables = build_tables(chosen, inputs)
    assert not tables["comparisons"]["role"].eq("confirmatory").any()
    declared = tables["contrasts"][tables["contrasts"]["role"] == "confirmatory"]
    assert set(zip(declared["kind"], declared["unit"], strict=True)) == {("alignment_pooled", "family")}
    np.testing.assert_allclose(declared["p_adjusted"], holm_by_hand(list(declared["p"])), rtol=1e-12)


def test_exploratory_tests_are_adjusted_within_their_family(tables: dict[str, pd.DataFrame]) -> None:
    tests = tables["comparisons"]
    exploratory = tests[(tests["role"] == "exploratory") & tests["p"].notna()]
    for _, group in exploratory.groupby(["estimator", "level", "scope", "sink"]):
        expected = benjamini_hochberg_by_hand(list(group["p"]))
        np.testing.assert_allclose(group["p_adjusted"], expected, rtol=1e-12)
        assert set(group["adjustment"]) == {f"Benjamini–Hochberg over {len(group)} tests"}


def test_contrasts_of_the_primary_estimator_are_confirmatory(tables: dict[str, pd.DataFrame]) -> None:
    contrasts = tables["contrasts"]
    declared = contrasts["estimator"].eq("hellinger") & contrasts["sink"].eq("kept")
    declared &= contrasts["kind"].ne("alignment_pooled") | contrasts["unit"].eq("family")
    declared &= ~contrasts["kind"].isin(["alignment_random_effects", "alignment_without_family"])
    assert contrasts["role"].eq("confirmatory").equals(declared)


def test_tests_over_three_refits_are_undecidable(tables: dict[str, pd.DataFrame]) -> None:
    tests = tables["comparisons"]
    over = tests[(tests["scope"] == "refits") & (tests["p_equivalence_adjusted"].isna())]
    assert set(over["verdict"]) == {"undecidable"}


UNTOLD = "undecided: the test finds a change, the interval shows no direction"


def a_test(**changes: Any) -> dict[str, Any]:
    test = {"role": "confirmatory", "estimate": -0.03, "p_adjusted": 0.2, "p_attainable": 0.001, "reason": None}
    test |= {"ci_low": -0.05, "ci_high": -0.01}
    return {**test, "p_adjusted_attainable": 0.01, "p_equivalence_adjusted": None, **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"p_adjusted": 0.05}, "decreased"),
        ({"p_adjusted": 0.0501}, "undecided"),
        ({"p_adjusted": 0.01, "estimate": 0.03, "ci_low": 0.01, "ci_high": 0.05}, "increased"),
        ({"p_adjusted": 0.01, "ci_high": 0.0}, UNTOLD),
        ({"p_adjusted": 0.01, "ci_high": 0.001}, UNTOLD),
        ({"p_adjusted": 0.01, "ci_low": None, "ci_high": None}, UNTOLD),
        ({"p_adjusted": 0.01, "estimate": 0.03}, UNTOLD),  # the interval lies on the other side
        ({"p_adjusted": 0.01, "ci_high": 0.001, "p_attainable": 0.25}, UNTOLD),
        (
            {"p_adjusted": 0.01, "ci_high": 0.001, "p_equivalence_adjusted": 0.01, "equivalence_margin": 0.02},
            "preserved (within ±0.02)",
        ),
        ({"p_equivalence_adjusted": 0.05, "equivalence_margin": 0.02}, "preserved (within ±0.02)"),
        ({"p_equivalence_adjusted": 0.06, "equivalence_margin": 0.02}, "undecided"),
        (
            {"p_adjusted": 0.01, "p_equivalence_adjusted": 0.01, "equivalence_margin": 0.02},
            "decreased, by less than 0.02",
        ),
        ({"p_attainable": 0.25}, "undecidable: the smallest attainable p is 0.25"),
        ({"p_adjusted_attainable": 0.06}, "undecidable: the smallest attainable adjusted p is 0.06"),
        ({"p_adjusted": None, "reason": "one refit"}, "not tested: one refit"),
        ({"p_adjusted": None}, "not tested"),
        ({"role": "repeat", "p_adjusted": 0.01}, "repeats an earlier seed: same weights"),
    ],
)
def test_verdicts(changes: dict[str, Any], said: str) -> None:
    test = a_test(**changes)
    assert in_words(test | {"verdict": verdict(test, Comparison())}) == said


@settings(max_examples=12, deadline=None)
@given(
    p_values=st.lists(st.floats(0.0001, 1), min_size=1, max_size=12),
    p_attainable=st.sampled_from([0.0001, 0.01, 0.1, 0.25]),
)
def test_what_is_undecidable_could_not_have_been_decided(p_values: list[float], p_attainable: float) -> None:
    """Replacing every p by the smallest attainable one must decide a test exactly if it is not "undecidable"."""
    p = np.maximum(p_values, p_attainable)
    tests = pd.DataFrame({"role": "confirmatory", "kind": "a", "p": p, "p_attainable": p_attainable})
    luckiest = holm_by_hand([p_attainable] * len(p_values))
    for row, best in zip(adjust(tests, ["kind"]).to_dict("records"), luckiest, strict=True):
        found = verdict({**row, "estimate": 1.0, "ci_low": 0.5, "ci_high": 2, "reason": None}, Comparison())
        assert (found in NEVER_DECIDED) == (best > 0.05)


def test_a_seed_that_changed_nothing_counts_for_no_test(tmp_path: Path) -> None:
    inputs = write_inputs(STUDY, tmp_path, np.random.default_rng(SEED))
    for path in (*inputs.summaries, *inputs.comparisons):
        table, metadata = pd.read_parquet(path), read_metadata(path)
        if "refits" in metadata:
            metadata |= {"refits": [1, 3]}
        else:
            metadata |= {"weights_digest": f"{metadata['model']}-{1 if metadata['seed'] == 2 else metadata['seed']}"}
        write_table(table, path, {key: value for key, value in metadata.items() if key != "versions"})
    tables = build_tables(STUDY, inputs)
    tests = tables["comparisons"]
    assert set(tests.loc[tests["role"] == "repeat", "seed"]) == {2}
    assert tests.loc[tests["role"] == "repeat", "p_adjusted"].isna().all()
    confirmatory = tests[tests["role"] == "confirmatory"]
    assert set(confirmatory["seed"]) == {1, 3}
    expected = holm_by_hand(confirmatory_p(tables, "p"))
    np.testing.assert_allclose(confirmatory_p(tables, "p_adjusted"), expected, rtol=1e-12)
    repeats = tables["models"].set_index("seed")["repeats_seed"]
    assert set(repeats.loc[2]) == {1}
    assert repeats.loc[[1, 3]].isna().all()
    assert set(tables["agreement"]["models_compared"]) == {2 * len(STUDY.models)}


def test_models_and_seeds_are_read_from_the_files_not_from_their_paths(inputs: Measured, tmp_path: Path) -> None:
    shuffled = []
    for position, path in enumerate(reversed(inputs.summaries)):
        shuffled.append(tmp_path / f"{position}.parquet")
        shutil.copyfile(path, shuffled[-1])
    expected = build_tables(STUDY, inputs)["specialization"]
    pd.testing.assert_frame_equal(build_tables(STUDY, replace(inputs, summaries=shuffled))["specialization"], expected)
    order = [(model.name, seed) for model in STUDY.models for seed in STUDY.seeds_of(model)]
    assert list(dict.fromkeys(zip(expected["model"], expected["seed"], strict=True))) == order


def test_checks_hold_the_change_of_the_value(inputs: Measured, tables: dict[str, pd.DataFrame]) -> None:
    raw = pd.read_parquet(inputs.summaries[0])
    metadata = read_metadata(inputs.summaries[0])
    checks = tables["checks"]
    checks = checks[(checks["model"] == metadata["model"]) & (checks["seed"] == metadata["seed"])]
    for row in checks.to_dict("records"):
        own = raw[(raw["estimator"] == row["estimator"]) & (raw["sink"] == row["sink"])]
        value = own.loc[own["scope"] == "model", "value"].item()
        scope = own[own["scope"] == row["check"]]
        if row["check"] == "without_layer":
            checked = scope.loc[scope["layer"] == row["layer"], "value"].item()
            assert pd.isna(row["largest_change"])
        else:
            checked = scope["value"].item()
            assert row["deviation"] == scope["deviation"].item()
            largest = own.loc[own["scope"] == "head_permutation_largest_change", "value"].item()
            assert row["largest_change"] == largest
        assert row["value"] == value
        assert row["checked_value"] == checked
        assert row["change"] == checked - value
    assert not set(tables["specialization"]["scope"]) & set(checks["check"])


def test_agreement_with_the_primary_estimator(tables: dict[str, pd.DataFrame]) -> None:
    values, tests = tables["specialization"], tables["comparisons"]

    def column(table: pd.DataFrame, estimator: str, sink: str, value: str, scope: str) -> list[float]:
        own = table[table["estimator"].eq(estimator) & table["sink"].eq(sink) & table["scope"].eq(scope)]
        if "level" in own:
            own = own[own["level"] == "model"]
        return list(own[value])

    rows = tables["agreement"]
    assert set(rows["estimator"]) == set(ESTIMATORS)
    for row in rows.to_dict("records"):
        key = (row["estimator"], row["sink"])
        expected = spearmanr(
            column(values, "hellinger", "kept", "value", "model"), column(values, *key, "value", "model")
        ).statistic
        assert row["rank_correlation"] == pytest.approx(expected, abs=1e-12)
        ours = column(tests, "hellinger", "kept", "delta_absolute", "refit")
        theirs = column(tests, *key, "delta_absolute", "refit")
        assert row["changes_compared"] == len(ours)
        assert row["same_direction"] == sum(a * b > 0 for a, b in zip(ours, theirs, strict=True))


def test_csv_equals_parquet(inputs: Measured, tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    write_tables(tables, tmp_path / "tables", table_metadata(STUDY, inputs))
    for name, table in read_tables(tmp_path / "tables").items():
        pd.testing.assert_frame_equal(table, tables[name])
        if table.empty:  # of an analysis that the study has not
            assert not (tmp_path / "tables" / f"{name}.csv").exists()
            continue
        types: dict[Any, Any] = {column.name: DTYPES[column.type] for column in TABLES[name]}
        csv = pd.read_csv(tmp_path / "tables" / f"{name}.csv", dtype=types)
        pd.testing.assert_frame_equal(csv, table, rtol=1e-14)
        metadata = read_metadata(tmp_path / "tables" / f"{name}.parquet")
        assert metadata["table"] == name
        assert metadata["prompts_digest"] == "c" * 64


def test_the_same_inputs_give_the_same_bytes(inputs: Measured, tmp_path: Path) -> None:
    digests = []
    for folder in (tmp_path / "once", tmp_path / "again"):
        write_tables(build_tables(STUDY, inputs), folder, table_metadata(STUDY, inputs))
        digests.append({path.name: file_digest(path) for path in sorted(folder.iterdir())})
    assert digests[0] == digests[1]
    assert {name.split(".")[0] for name in digests[0]} == {row.table for row in (*MODELS, *SPECIALIZATION)}


@pytest.mark.parametrize(
    "study",
    [
        example_study(bases=("solo",), methods=(), seeds=(7,)),
        example_study(bases=("solo",), methods=("sft",), seeds=(7,)),
        example_study(bases=("one", "two"), methods=(), seeds=(1, 2, 3)),
    ],
    ids=["one model", "one pair at one seed", "no aligned model"],
)
def test_small_studies_have_all_tables_with_all_columns(study: Study, tmp_path: Path) -> None:
    inputs = write_inputs(study, tmp_path / "inputs", np.random.default_rng(SEED))
    tables = build_tables(study, inputs)
    write_tables(tables, tmp_path / "tables", table_metadata(study, inputs))
    for name, table in read_tables(tmp_path / "tables").items():
        assert list(table.columns) == [column.name for column in TABLES[name]]
    assert len(tables["comparisons"]) == 0 or study.descendants()


def another_study(inputs: Measured, tmp_path: Path) -> Measured:
    return replace(inputs, summaries=[*inputs.summaries, copied(inputs.summaries[0], tmp_path, model="stranger")])


def another_seed(inputs: Measured, tmp_path: Path) -> Measured:
    return replace(inputs, descriptors=[copied(inputs.descriptors[0], tmp_path, seed=99)])


def twice_the_same(inputs: Measured, tmp_path: Path) -> Measured:
    return replace(inputs, descriptors=[*inputs.descriptors, copied(inputs.descriptors[0], tmp_path)])


def other_prompts(inputs: Measured, tmp_path: Path) -> Measured:
    changed = copied(inputs.summaries[1], tmp_path, prompts_digest="f" * 64)
    return replace(inputs, summaries=[inputs.summaries[0], changed])


def copied(path: Path, folder: Path, **changes: Any) -> Path:
    """The file under another name with changed metadata."""
    metadata = {key: value for key, value in read_metadata(path).items() if key != "versions"}
    write_table(pd.read_parquet(path), folder / "changed.parquet", {**metadata, **changes})
    return folder / "changed.parquet"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (another_study, "'stranger', seed 1, which is not in study 'example'"),
        (another_seed, "'multi_head', seed 99, which is not in study 'example'"),
        (twice_the_same, "are both of model 'multi_head', seed 1: give one of them only"),
        (other_prompts, "measured on different prompts"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    spoil: Callable[[Measured, Path], Measured], words: str, inputs: Measured, tmp_path: Path
) -> None:
    with pytest.raises(ReportError, match=words) as refusal:
        build_tables(STUDY, spoil(inputs, tmp_path))
    assert "changed.parquet" in str(refusal.value)


def test_a_table_with_the_wrong_columns_is_refused(tables: dict[str, pd.DataFrame]) -> None:
    columns, training = TABLES["training"], tables["training"]
    with pytest.raises(TableError, match="table 'training': column 'step' is missing"):
        typed_columns("training", columns, training.drop(columns="step"))
    with pytest.raises(TableError, match="table 'training': column 'surprise' is unknown"):
        typed_columns("training", columns, training.assign(surprise=1))
    assert typed_columns("training", columns, training.drop(columns="accuracy"))["accuracy"].isna().all()


def test_a_window_acts_where_it_is_shorter_than_the_longest_prompt() -> None:
    study = study_model().model_validate({"name": "hybrid", "prompts": {"path": "p.jsonl"}, "models": [HYBRID]})
    architecture = {"layers": 5, "attention_layers": [1, 2, 4], "windows": [8, 40, None]}
    metadata = {"model": "hybrid", "seed": 1, "architecture": architecture}

    def facts(**more: int) -> pd.Series:
        return models_table(study, [], [(Path("summary.parquet"), metadata | more)], {}).loc[0]

    row = facts(longest_prompt_tokens=40)
    assert (row["layers"], row["window_layers"], row["window_tokens"]) == (3, 2, 8)
    assert (row["longest_prompt_tokens"], row["window_layers_acting"]) == (40, 1)
    assert facts(longest_prompt_tokens=8)["window_layers_acting"] == 0
    assert facts(longest_prompt_tokens=41)["window_layers_acting"] == 2
    assert facts()["window_layers_acting"] is None  # measured before prompts were counted


def test_facts_of_models(tables: dict[str, pd.DataFrame]) -> None:
    models = tables["models"].set_index(["model", "seed"])
    grouped = models.loc[("grouped_query", 1)]
    assert (grouped["attention"], grouped["key_value_heads"], grouped["window_layers"]) == ("grouped-query", 2, 0)
    assert pd.isna(grouped["window_tokens"])
    assert (models.loc[("sliding_window", 2), "window_tokens"], models.loc[("sliding_window", 2), "window_layers"]) == (
        8,
        4,
    )
    assert set(models["longest_prompt_tokens"]) == {40}
    assert (models["window_layers_acting"] == models["window_layers"]).all()
    aligned = models.loc[("multi_head-dpo", 3)]
    assert (aligned["base"], aligned["method"], aligned["preference_accuracy_after"]) == ("multi_head", "dpo", 0.8)
    assert aligned["reward_margin_nats"] == 0.4
    assert pd.isna(aligned["held_out_loss_nats"])
    assert pd.isna(models.loc[("multi_head-sft", 3), "reward_margin_nats"])
