"""Digests, atomic output, and metadata that survives a file."""

import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.runtime.provenance import (
    FORMAT_VERSION,
    METADATA_KEY,
    atomic,
    file_digest,
    json_digest,
    library_versions,
    read_json,
    read_metadata,
    with_metadata,
    write_json,
    write_table,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


# --- digests ---


def test_digest_of_a_file_is_the_published_one(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")  # test vector of FIPS 180-2, appendix B.1
    assert file_digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_digest_of_a_json_value_is_that_of_its_canonical_text() -> None:
    expected = hashlib.sha256('{"a":[1,2.5,null],"b":"é"}'.encode()).hexdigest()
    assert json_digest({"b": "é", "a": [1, 2.5, None]}) == expected


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON, min_size=2, max_size=5))
def test_digest_ignores_the_order_of_keys_but_no_value(value: dict) -> None:
    assert json_digest(dict(reversed(value.items()))) == json_digest(value)
    key = next(iter(value))
    assert json_digest(value | {key: [value[key]]}) != json_digest(value)


# --- atomic output ---


class Interruption(BaseException):
    """Stands for KeyboardInterrupt, which is no Exception."""


def test_a_file_appears_only_when_the_block_has_succeeded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "file.txt"
    with atomic(path) as temporary:
        temporary.write_text("done")
        assert temporary.parent == path.parent  # on the same file system: the rename is atomic
        assert not path.exists()
    assert path.read_text() == "done"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "old.txt").touch()
    with atomic(path) as temporary:
        temporary.mkdir()
        (temporary / "new.txt").touch()
        assert os.listdir(path) == ["old.txt"]
    assert os.listdir(path) == ["new.txt"]
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [ValueError, Interruption])
@pytest.mark.parametrize("kind", ["nothing", "file", "folder"])
@pytest.mark.parametrize("before", [False, True])
def test_a_failed_block_leaves_everything_as_it_was(
    tmp_path: Path, error: type[BaseException], kind: str, before: bool
) -> None:
    path = tmp_path / "output"
    if before and kind == "folder":
        path.mkdir()
        (path / "inside").write_text("old")
    elif before:
        path.write_text("old")

    def tree() -> dict[Path, str | None]:
        return {found: found.read_text() if found.is_file() else None for found in tmp_path.rglob("*")}

    def fail_half_way() -> None:
        with atomic(path) as temporary:
            if kind == "file":
                temporary.write_text("half")
            elif kind == "folder":
                temporary.mkdir()
                (temporary / "inside").write_text("half")
            raise error

    earlier = tree()
    with pytest.raises(error):
        fail_half_way()
    assert tree() == earlier


def test_what_a_killed_process_of_the_same_number_left_is_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic(path) as temporary:
        temporary.mkdir()
    stale = temporary
    stale.mkdir()
    (stale / "stale.txt").touch()
    with atomic(path) as temporary:
        assert temporary == stale
        temporary.mkdir()
        (temporary / "new.txt").touch()
    assert os.listdir(path) == ["new.txt"]


def test_a_folder_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.write_text("old")
    with atomic(path) as temporary:
        temporary.mkdir()
    assert path.is_dir()
    assert os.listdir(tmp_path) == ["output"]


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic(path):
        pass
    assert path.read_text() == "old"


# --- JSON ---


@settings(deadline=None)
@given(JSON)
def test_json_survives_a_file(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(value, path)
    assert read_json(path) == value


def test_json_keeps_the_order_of_keys_and_typographic_characters(tmp_path: Path) -> None:
    write_json({"b": "1 − α", "a": 2}, tmp_path / "value.json")
    assert (tmp_path / "value.json").read_text(encoding="utf-8") == '{\n  "b": "1 − α",\n  "a": 2\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_what_json_cannot_hold_leaves_no_file(tmp_path: Path, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        write_json({"value": value}, tmp_path / "value.json")
    assert os.listdir(tmp_path) == []


# --- tables ---

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
    table = pq.read_table(tmp_path / "table.parquet")
    assert table.to_pydict() == {"prompt": ["a", "b"], "value": [0.5, None], "layer": [1, None]}
    assert table.schema.field("layer").type == pa.int16()


def test_metadata_replaces_what_a_table_carried_from_its_inputs(tmp_path: Path) -> None:
    table = pa.table({"x": [1]}).replace_schema_metadata({METADATA_KEY: b"{}", b"other": b"1"})
    write_table(table, tmp_path / "table.parquet", {"model": "m"})
    assert read_metadata(tmp_path / "table.parquet")["model"] == "m"
    assert b"other" not in pq.read_schema(tmp_path / "table.parquet").metadata


def test_a_schema_keeps_its_other_metadata() -> None:
    schema = with_metadata(pa.schema([("x", pa.int8())], metadata={b"other": b"1"}), {"model": "m"})
    assert schema.metadata[b"other"] == b"1"
    assert json.loads(schema.metadata[METADATA_KEY])["model"] == "m"


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_table(FRAME, tmp_path / name, {"model": "m"})
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


# --- versions ---


def test_versions_are_those_installed_and_read_without_importing() -> None:
    code = (
        "import sys; from headwise.runtime.provenance import library_versions;"
        "print(library_versions()['torch'], 'torch' in sys.modules)"
    )
    done = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert done.split() == [version("torch"), "False"]
