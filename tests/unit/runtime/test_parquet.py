"""Tables and what they carry survive a Parquet file; one that is damaged or of others is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_examples import JSON

from headwise.analyses.specialization.evaluate import read_features
from headwise.analyses.specialization.measured import load_measured
from headwise.analyses.stability.packed import packed_attention
from headwise.attention.store import TENSOR_SCHEMA, read_layer, stream
from headwise.runtime.parquet import (
    FORMAT_VERSION,
    METADATA_KEY,
    ParquetError,
    read_arrow,
    read_metadata,
    read_table,
    with_metadata,
    write_table,
)
from headwise.runtime.provenance import library_versions

PROMPTS = 3000


def read_packed(path: Path) -> np.ndarray:
    with packed_attention(path) as attention:
        return attention.read(0)


def stored_tensors(path: Path) -> None:
    """Attention of one head on one token per prompt: 3,000 prompts of weights that do not compress away."""
    rng = np.random.default_rng(0)
    prompts = [f"p{number}" for number in range(PROMPTS)]
    weights = [[value] for value in rng.random(len(prompts)).astype(np.float16)]
    columns = [prompts, [0] * len(prompts), [0] * len(prompts), [1] * len(prompts), weights]
    arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, TENSOR_SCHEMA, strict=True)]
    write_table(pyarrow.Table.from_arrays(arrays, schema=TENSOR_SCHEMA), path, {"support": "causal"})


READERS: dict[str, Callable[[Path], object]] = {
    "read_table": read_table,
    "read_arrow": read_arrow,
    "read_metadata": read_metadata,
    "read_layer": lambda path: read_layer(path, "p0", 0),
    "stream": lambda path: list(stream(path)),
    "packed_attention": read_packed,
    "read_features": read_features,
    "load_measured": lambda path: load_measured(path, path),
}
TENSOR_READERS = ["read_layer", "stream", "packed_attention"]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def damaged(content: bytes) -> bytes:
    """Bytes of the weights, which are the last pages before the footer, overwritten."""
    footer = int.from_bytes(content[-8:-4], "little") + 8
    place = len(content) - footer - 3000
    return content[:place] + bytes(2000) + content[place + 2000 :]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (cut, "is cut off: its end is missing"),
        (lambda content: content[:3], "is cut off: its end is missing"),
        (lambda content: content[:-1], "is cut off: its end is missing"),
        (lambda content: b"", "is empty"),
        (lambda content: b"a,b\n1,2\n" * 40, "is no Parquet file"),
        (lambda content: b"PAR1" + bytes(40) + b"PAR1", "is damaged"),
    ],
    ids=["middle", "beginning", "last_byte", "empty", "text", "footer"],
)
def test_a_broken_file_is_named_with_the_remedy(
    tmp_path: Path, reader: str, change: Callable[[bytes], bytes], problem: str
) -> None:
    path = tmp_path / "attention.parquet"
    stored_tensors(path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ParquetError) as refused:
        READERS[reader](path)
    assert str(refused.value).startswith(f"{path} {problem}")
    assert str(refused.value).endswith(". Remove it and run again: it is computed anew.")


@pytest.mark.parametrize("reader", ["read_table", "read_arrow", *TENSOR_READERS])
def test_damage_behind_an_intact_footer_is_named(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "attention.parquet"
    stored_tensors(path)
    path.write_bytes(damaged(path.read_bytes()))
    assert read_metadata(path)["support"] == "causal"
    with pytest.raises(ParquetError, match=r"attention.parquet is damaged \(.+\)\. Remove it and run again"):
        READERS[reader](path)


@pytest.mark.parametrize("reader", READERS)
def test_a_folder_and_a_missing_file_are_named(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "heads.parquet"
    with pytest.raises(ParquetError, match=r"heads.parquet is not there. Run again: it is computed anew.$"):
        READERS[reader](path)
    path.mkdir()
    stored_tensors(path / "part.parquet")  # pyarrow reads such a folder as one table
    with pytest.raises(ParquetError, match=r"heads.parquet is a folder, not a Parquet file\. Remove it"):
        READERS[reader](path)


@pytest.mark.parametrize("reader", READERS)
def test_a_parquet_file_of_others_is_named(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "heads.parquet"
    pd.DataFrame({"prompt": ["a"], "value": [1.0]}).to_parquet(path)
    with pytest.raises(ParquetError, match=r"heads.parquet carries no headwise metadata: it was not written by"):
        READERS[reader](path)


@pytest.mark.parametrize("reader", [*TENSOR_READERS, "read_features", "load_measured"])
def test_a_missing_column_is_named(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "heads.parquet"
    write_table(pd.DataFrame({"prompt": ["a"]}), path, {"support": "causal"})
    with pytest.raises(ParquetError, match=r"heads.parquet has no column '\w+': it was not written by this version"):
        READERS[reader](path)


def test_missing_provenance_is_named(tmp_path: Path) -> None:
    path = tmp_path / "heads.parquet"
    write_table(pd.DataFrame({"prompt": ["a"]}), path, {"seed": 1})
    assert read_metadata(path).get("study") is None
    with pytest.raises(ParquetError, match=r"heads.parquet does not say its 'prompts_digest'"):
        read_metadata(path)["prompts_digest"]


def test_what_is_whole_is_read(tmp_path: Path) -> None:
    path = tmp_path / "seed=1" / "attention.parquet"  # a folder that pyarrow would make a column of
    stored_tensors(path)
    assert list(read_table(path)) == read_arrow(path).column_names == TENSOR_SCHEMA.names
    expected = read_table(path)["weights"].iloc[0][0]
    assert read_layer(path, "p0", 0).item() == next(stream(path)).weights.item() == read_packed(path).item() == expected


def test_an_error_of_the_block_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    path = tmp_path / "attention.parquet"
    stored_tensors(path)
    with pytest.raises(OSError, match="no space"), packed_attention(path):
        raise OSError("no space")


FRAME = pd.DataFrame({"prompt": ["a", "b"], "value": [0.5, None], "layer": pd.array([1, None], dtype="Int16")})


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.text(min_size=1).filter(lambda key: key not in ("versions", "format_version")), JSON))
def test_metadata_survives_a_table(tmp_path_factory: pytest.TempPathFactory, metadata: dict) -> None:
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    write_table(FRAME, path, metadata)
    carried = {"format_version": FORMAT_VERSION, **metadata, "versions": library_versions()}
    assert read_metadata(path) == carried


def test_a_table_survives_with_types_and_nulls_and_without_an_index(tmp_path: Path) -> None:
    shuffled = FRAME.set_axis([7, 3])
    write_table(shuffled, tmp_path / "table.parquet", {})
    table = pyarrow.parquet.read_table(tmp_path / "table.parquet")
    assert table.to_pydict() == {"prompt": ["a", "b"], "value": [0.5, None], "layer": [1, None]}
    assert table.schema.field("layer").type == pyarrow.int16()


def test_metadata_replaces_what_a_table_carried_from_its_inputs(tmp_path: Path) -> None:
    table = pyarrow.table({"x": [1]}).replace_schema_metadata({METADATA_KEY: b"{}", b"other": b"1"})
    write_table(table, tmp_path / "table.parquet", {"model": "m"})
    assert read_metadata(tmp_path / "table.parquet")["model"] == "m"
    assert b"other" not in pyarrow.parquet.read_schema(tmp_path / "table.parquet").metadata


def test_a_schema_keeps_its_other_metadata() -> None:
    schema = with_metadata(pyarrow.schema([("x", pyarrow.int8())], metadata={b"other": b"1"}), {"model": "m"})
    assert schema.metadata[b"other"] == b"1"
    assert json.loads(schema.metadata[METADATA_KEY])["model"] == "m"


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_table(FRAME, tmp_path / name, {"model": "m"})
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
