"""Printed indices of released files beside those of their matrices."""

import json

import numpy as np
import pytest

from headwise.published.released import ReleasedIndex, compute_released
from headwise.runtime.parquet import read_metadata
from headwise.tables.files import read_rows


def test_an_index_is_computed_again_where_its_matrix_stands_beside_it(tmp_path):
    entropies = np.random.default_rng(5).uniform(size=(6, 3))
    index = 1 - np.corrcoef(entropies.T)[np.triu_indices(3, 1)].mean()
    printed = {"entropies": entropies.tolist(), "specialization_index": index + 0.25}
    folder, table = tmp_path / "release", tmp_path / "indices.parquet"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps({"base": printed, "other": {"specialization_index": 0.5}}))
    compute_released(folder, table)
    (row,) = read_rows(ReleasedIndex, table).to_dict("records")
    assert (row["file"], row["printed"]) == ("model.json", index + 0.25)
    assert row["computed"] == pytest.approx(index, abs=1e-13)
    assert read_metadata(table)["folder"] == str(folder)


def test_files_without_such_an_index_give_no_rows(tmp_path):
    (tmp_path / "empty.json").write_text("{}")
    compute_released(tmp_path, tmp_path / "indices.parquet")
    assert read_rows(ReleasedIndex, tmp_path / "indices.parquet").empty
