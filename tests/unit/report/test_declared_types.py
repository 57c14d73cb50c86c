"""No number changes on its way from a file to the page: types as declared, whole numbers exact, infinity by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import Measured, aggregate, build_tables, example_study, write_inputs

from headwise.analyses.noise.rows import LossUnderNoise
from headwise.analyses.noise.summarize_losses import per_unit, read_refits
from headwise.analyses.recursion.rows import RecursionSurvival
from headwise.analyses.recursion.settings import Arm, Recursion
from headwise.analyses.recursion.summarize_chains import survival_rows
from headwise.analyses.specialization import tested
from headwise.report.model_facts import models_table
from headwise.report.parts import TABLES
from headwise.report.tables import table_metadata, write_tables
from headwise.runtime.json_files import json_text, read_json
from headwise.runtime.parquet import read_metadata, read_table, table_of, write_table
from headwise.tables.cells import TableError
from headwise.tables.files import write_rows
from headwise.tables.frame import frame_of, typed_columns

STUDY = example_study(bases=("multi_head",), methods=("sft",))
FAR = 2**53  # from here on floating-point numbers have no odd neighbours
LIMIT = 2**53 - 1


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return write_inputs(STUDY, tmp_path_factory.mktemp("inputs"), np.random.default_rng(1))


def nullable(kind: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | kind, min_size=1, max_size=5)


COLUMN = st.one_of(
    nullable(st.integers(-(2**63), 2**63 - 1)).map(lambda cells: pa.array(cells, pa.int64())),
    nullable(st.integers(0, 2**64 - 1)).map(lambda cells: pa.array(cells, pa.uint64())),
    nullable(st.integers(-128, 127)).map(lambda cells: pa.array(cells, pa.int8())),
    nullable(st.booleans()).map(lambda cells: pa.array(cells, pa.bool_())),
    nullable(st.floats(allow_nan=False)).map(lambda cells: pa.array(cells, pa.float64())),
    nullable(st.sampled_from(["007", "1e5", "NA", "nan", "None", "1", "", "=1"])).map(
        lambda cells: pa.array(cells, pa.string())
    ),
    nullable(st.sampled_from(["1", "01", "x"])).map(lambda cells: pa.array(cells, pa.string()).dictionary_encode()),
)


@settings(max_examples=60, deadline=None)
@given(COLUMN)
def test_a_column_comes_back_as_the_file_declares_it(tmp_path_factory: pytest.TempPathFactory, column: Any) -> None:
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    write_table(pa.table({"x": column}), path, {})
    found = pa.Array.from_pandas(read_table(path)["x"]).to_pylist()
    assert found == column.to_pylist()
    assert list(map(type, found)) == list(map(type, column.to_pylist()))


def test_whole_numbers_of_rows_stay_whole_beside_none(tmp_path: Path) -> None:
    rows = [{"seed": None, "p": 0.5}, {"seed": FAR + 1, "p": None}, {"p": 1, "late": True}]
    table = table_of(rows)
    assert table["seed"].tolist()[1] == FAR + 1
    assert table["p"].tolist()[::2] == [0.5, 1.0]
    write_table(table, tmp_path / "table.parquet", {})
    assert pq.read_table(tmp_path / "table.parquet").to_pylist() == [
        {"seed": None, "p": 0.5, "late": None},
        {"seed": FAR + 1, "p": None, "late": None},
        {"seed": None, "p": 1.0, "late": True},
    ]
    assert table_of([]).empty


def with_large_seeds(inputs: Measured, folder: Path) -> Measured:
    """The comparisons with seeds 1, 2, 3 moved beyond 2⁵³: one apart, so that two of them round to one number."""
    moved = []
    for path in inputs.comparisons:
        metadata = {key: value for key, value in read_metadata(path).items() if key != "versions"}
        table = pq.read_table(path)
        seeds = [None if seed is None else FAR + seed for seed in table["seed"].to_pylist()]
        table = table.set_column(table.column_names.index("seed"), "seed", pa.array(seeds, pa.int64()))
        moved.append(folder / path.name)
        write_table(table, moved[-1], metadata | {"refits": [FAR + seed for seed in metadata["refits"]]})
    return replace(inputs, comparisons=moved)


def test_refits_with_large_seeds_are_tests_of_their_own(inputs: Measured, tmp_path: Path) -> None:
    moved = with_large_seeds(inputs, tmp_path)
    within, _ = tested.tested_tables(STUDY, moved.comparisons, moved.contrasts, None)
    expected, _ = tested.tested_tables(STUDY, inputs.comparisons, inputs.contrasts, None)
    assert within["role"].tolist() == expected["role"].tolist()
    assert within["verdict"].tolist() == expected["verdict"].tolist()
    assert not within["role"].eq("repeat").any()
    assert set(within["seed"].dropna()) == {FAR + 1, FAR + 2, FAR + 3}


def test_what_the_page_would_round_is_refused_by_table_column_and_row(inputs: Measured, tmp_path: Path) -> None:
    with pytest.raises(TableError) as refused:
        build_tables(STUDY, with_large_seeds(inputs, tmp_path))
    assert str(refused.value) == (
        "table 'comparisons', column 'seed', row 1 (base multi_head, aligned multi_head-sft, family multi_head, "
        f"method sft): {FAR + 1}; whole numbers beyond 2^53 − 1 are rounded by JavaScript and spreadsheets: choose a "
        "smaller one"
    )


def agreement(**cells: Any) -> pd.DataFrame:
    """Two rows of the table of agreement, the second with the cells given."""
    row = {"estimator": "a", "sink": "kept", "models_compared": 3, "rank_correlation": 0.5, "changes_compared": 3}
    row |= {"same_direction": 2, "reason": None}
    return pd.DataFrame([row, row | cells], dtype=object)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (
            {"rank_correlation": float("inf")},
            "'rank_correlation', row 2 (estimator a, sink kept, .*): inf; an infinite",
        ),
        ({"rank_correlation": -float("inf")}, "'rank_correlation', row 2 .*: -inf; .*compute the inputs of the table"),
        ({"rank_correlation": "0.5"}, "'rank_correlation', row 2 .*: '0.5'; the column holds a number in every row"),
        ({"rank_correlation": True}, "'rank_correlation', row 2 .*: True; the column holds a number"),
        ({"models_compared": LIMIT + 1}, "'models_compared', row 2 .*: 9007199254740992; whole numbers beyond"),
        ({"models_compared": -LIMIT - 1}, "'models_compared', row 2 .*: -9007199254740992; whole numbers beyond"),
        ({"models_compared": 10**30}, "'models_compared', row 2 .*: 10{30}; whole numbers beyond"),
        ({"models_compared": float(2**60)}, "'models_compared', row 2 .*: 1152921504606846976; whole|.*1.15.*; whole"),
        ({"models_compared": 2.5}, "'models_compared', row 2 .*: 2.5; the column holds a whole number"),
        ({"models_compared": "3"}, "'models_compared', row 2 .*: '3'; the column holds a whole number"),
        ({"models_compared": True}, "'models_compared', row 2 .*: True; the column holds a whole number"),
        ({"estimator": 1}, "'estimator', row 2 .*: 1; the column holds text in every row"),
    ],
)
def test_a_wrong_cell_is_refused_by_table_column_and_row(cells: dict[str, Any], words: str) -> None:
    pattern = words.replace("(", r"\(", 1).replace("): inf", r"\): inf")
    with pytest.raises(TableError, match=f"table 'agreement', column {pattern}"):
        typed_columns("agreement", TABLES["agreement"], agreement(**cells))


@pytest.mark.parametrize(
    "cells",
    [
        {"models_compared": LIMIT},
        {"models_compared": -LIMIT},
        {"models_compared": 3.0},
        {"models_compared": np.int16(3)},
        {"rank_correlation": float("nan")},
        {"rank_correlation": None},
        {"rank_correlation": 1},
        {"rank_correlation": 1e300},
        {"estimator": "1", "reason": "NA"},
    ],
)
def test_what_a_column_declares_passes_unchanged(cells: dict[str, Any]) -> None:
    (found,) = typed_columns("agreement", TABLES["agreement"], agreement(**cells)).tail(1).to_dict("records")
    for name, cell in cells.items():
        assert pd.isna(found[name]) if pd.isna(cell) else found[name] == cell


def test_an_infinite_number_ends_the_summary_by_name_and_leaves_no_results(inputs: Measured, tmp_path: Path) -> None:
    metadata = {key: value for key, value in read_metadata(inputs.comparisons[0]).items() if key != "versions"}
    table = read_table(inputs.comparisons[0])
    table.loc[table["scope"].eq("refits") & table["level"].eq("model"), "ci_high"] = np.inf
    write_table(table, tmp_path / "infinite.parquet", metadata)
    spoiled = replace(inputs, comparisons=[tmp_path / "infinite.parquet"])
    with pytest.raises(TableError, match=r"table 'comparisons', column 'ci_high', row 4 .*: inf; an infinite number"):
        aggregate(STUDY, spoiled, tables=tmp_path / "tables", results=tmp_path / "results.json")
    assert not (tmp_path / "results.json").exists()
    assert not (tmp_path / "tables").exists()


def test_json_that_cannot_hold_a_number_names_file_and_place() -> None:
    with pytest.raises(ValueError, match=r"out\.json: rows\[1\]\.p is nan, which JSON cannot hold"):
        json_text({"rows": [{"p": 1.0}, {"p": float("nan")}]}, "out.json")
    assert json_text({"rows": [1, None, "é"]}, "out.json") == '{"rows": [1, null, "é"]}'


def test_results_hold_no_number_that_javascript_would_round(inputs: Measured, tmp_path: Path) -> None:
    aggregate(STUDY, inputs, tables=tmp_path / "tables", results=tmp_path / "results.json")

    def numbers(value: Any) -> list[Any]:
        if isinstance(value, dict | list):
            return [each for part in (value.values() if isinstance(value, dict) else value) for each in numbers(part)]
        return [value] if isinstance(value, int | float) else []

    found = numbers(read_json(tmp_path / "results.json"))
    assert len(found) > 100
    for number in found:
        assert json.loads(json.dumps(number)) == number
        assert not isinstance(number, int) or abs(number) <= LIMIT


def test_an_earlier_seed_of_the_same_weights_is_named_exactly() -> None:
    repeats = {("multi_head", 2): FAR + 1}
    measured = [(Path("x"), {"model": "multi_head", "seed": seed}) for seed in (1, 2)]
    assert models_table(STUDY, [], measured, repeats)["repeats_seed"].tolist()[1] == FAR + 1


def test_refits_with_large_seeds_are_units_of_their_own(tmp_path: Path) -> None:
    paths = []
    cell = {"heads": "as made", "site": "residual", "scale": "absolute", "region": "all", "sigma": 0.1}
    for seed in (FAR, FAR + 1):
        rows = [{"model": model, **cell, "draw": draw} for model in ("trained", "folder") for draw in (0, 1)]
        paths.append(tmp_path / f"{seed}.parquet")
        digests = {"trained": str(seed), "folder": "the same"}
        table = pd.DataFrame(rows).assign(delta_nll_nats=float(seed - FAR))
        write_rows(LossUnderNoise, table, paths[-1], {"seed": seed, "weights_digests": digests})
    units = per_unit(read_refits(LossUnderNoise, paths))
    trained, folder = (units[units["model"] == model] for model in ("trained", "folder"))
    assert trained["number"].tolist() == [FAR, FAR + 1]
    assert trained["delta_nll_nats"].tolist() == [0.0, 1.0]
    assert sorted(folder["number"]) == [1, 2, 3, 4]


def test_a_table_with_all_refits_and_single_ones_keeps_the_seeds() -> None:
    recursion = Recursion(arms=[Arm(name="a", model="multi_head", mode="continue")], generations=10)
    times = pd.DataFrame({"arm": "a", "seed": [LIMIT - 1, LIMIT], "prompt": "x", "generation": 3, "happened": True})
    table = frame_of(RecursionSurvival, survival_rows(times, recursion, 0.05))
    assert set(table["seed"].dropna()) == {LIMIT - 1, LIMIT}


def test_text_of_csv_tables_is_neutral_and_other_cells_are_those_of_parquet(inputs: Measured, tmp_path: Path) -> None:
    tables = build_tables(STUDY, inputs)
    rows = tables["agreement"].assign(estimator="=cmd()", reason="007")
    write_tables(tables | {"agreement": rows}, tmp_path / "tables", table_metadata(STUDY, inputs))
    csv = pd.read_csv(tmp_path / "tables" / "agreement.csv", dtype=str, keep_default_na=False)
    assert set(csv["estimator"]) == {"'=cmd()"}
    assert set(csv["reason"]) == {"007"}
    assert csv["rank_correlation"].astype(float).tolist() == rows["rank_correlation"].tolist()
    assert set(read_table(tmp_path / "tables" / "agreement.parquet")["estimator"]) == {"=cmd()"}
    assert list(csv.columns) == [column.name for column in TABLES["agreement"]]
