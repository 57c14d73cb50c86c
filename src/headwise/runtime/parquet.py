"""Parquet files of headwise: each carries what it comes from, and an error about one says what to do.

Imported by the Snakefile, so nothing heavy is imported here at module level.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwise.runtime.atomic import atomic
from headwise.runtime.provenance import library_versions

if TYPE_CHECKING:
    import pandas
    import pyarrow
    import pyarrow.parquet

METADATA_KEY = b"headwise"
MAGIC = b"PAR1"  # the first and the last four bytes of a Parquet file
FORMAT_VERSION = 1
NULLABLE_INTEGERS = tuple(f"{sign}nt{bits}" for sign in ("I", "UI") for bits in (8, 16, 32, 64))


class ParquetError(ValueError):
    """A Parquet file that cannot be used; the message names the file, what is wrong with it, and the remedy."""


class Carried(dict[str, Any]):
    """What a Parquet file of headwise says about its origin. Raises ParquetError for a key that it lacks."""

    def __init__(self, path: str | Path, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise unusable(self.path, f"does not say its '{key}': it was not written by this version of headwise")


def with_metadata(schema: "pyarrow.Schema", metadata: Mapping[str, Any]) -> "pyarrow.Schema":
    """The schema with `metadata`, the format version and the library versions under the key `headwise`."""
    carried = {"format_version": FORMAT_VERSION, **metadata, "versions": library_versions()}
    existing = schema.metadata or {}
    return schema.with_metadata({**existing, METADATA_KEY: json.dumps(carried, ensure_ascii=False).encode()})


def write_table(table: "pyarrow.Table | pandas.DataFrame", path: str | Path, metadata: Mapping[str, Any]) -> None:
    """Write a tidy table as Parquet (zstd), atomically, with its provenance in the schema metadata.

    The bytes depend on the table, the metadata and the library versions alone: no clock, no host name.
    """
    import pyarrow
    import pyarrow.parquet

    if not isinstance(table, pyarrow.Table):
        table = pyarrow.Table.from_pandas(table, preserve_index=False)
    table = table.replace_schema_metadata(None)
    table = table.cast(with_metadata(table.schema, metadata))
    with atomic(path) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd")


def read_table(path: str | Path, columns: Iterable[str] = ()) -> "pandas.DataFrame":
    """A Parquet file as a table, every column in the type that the file declares.

    Whole numbers and truth values are nullable types of pandas (Int64, boolean), empty cells or not: pandas' own
    reading makes floating-point numbers of whole ones as soon as a cell is empty, and two seeds above 2⁵³ one.

    Raises ParquetError as `read_arrow` does.
    """
    return _frame(read_arrow(path, columns))


def read_arrow(path: str | Path, columns: Iterable[str] = (), filters: Any = None) -> "pyarrow.Table":
    """A Parquet file of headwise as an Arrow table.

    columns  those that must be there; all are read
    filters  rows to read, as `pyarrow.parquet.read_table` takes them

    Raises ParquetError where it is not there, cut off, damaged, no Parquet, not of headwise, or lacks a column.
    """
    import pyarrow.parquet

    open_parquet(path, columns).close()
    with reading(path):
        # Without partitioning: a folder that is named like "seed=1" adds no column.
        return pyarrow.parquet.read_table(path, filters=filters, partitioning=None)


def open_parquet(path: str | Path, columns: Iterable[str] = ()) -> "pyarrow.parquet.ParquetFile":
    """A Parquet file of headwise, opened, with its footer read. Raises ParquetError as `read_arrow` does.

    Later reads from it belong into a block of `reading`.
    """
    import pyarrow.parquet

    with reading(path):
        file = pyarrow.parquet.ParquetFile(path)
    if METADATA_KEY not in (file.schema_arrow.metadata or {}):
        raise unusable(path, "carries no headwise metadata: it was not written by headwise")
    for column in columns:
        if column not in file.schema_arrow.names:
            raise unusable(path, f"has no column '{column}': it was not written by this version of headwise")
    return file


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """The boundary to Parquet: what pyarrow raises in the block about the file at `path` becomes a ParquetError."""
    import pyarrow

    try:
        yield
    # Damaged pages raise OSError, a damaged footer ValueError or what is derived from it.
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise
        raise unusable(path, _problem(Path(path), error)) from error


def unusable(path: str | Path, problem: str) -> ParquetError:
    """The error about a file that a job makes, and makes again where it is not there."""
    remedy = "Remove it and run again" if os.path.lexists(path) else "Run again"
    return ParquetError(f"{path} {problem}. {remedy}: it is computed anew.")


def _problem(path: Path, error: Exception) -> str:
    """What is wrong with a file that pyarrow does not read."""
    if not path.exists():
        return "is not there"
    if path.is_dir():
        return "is a folder, not a Parquet file"
    size = path.stat().st_size
    if not size:
        return "is empty"
    with path.open("rb") as stream:
        begin = stream.read(len(MAGIC))
        stream.seek(-min(len(MAGIC), size), os.SEEK_END)
        end = stream.read()
    if not MAGIC.startswith(begin):
        return "is no Parquet file"
    if end != MAGIC or size < 3 * len(MAGIC):
        return "is cut off: its end is missing"
    return f"is damaged ({str(error).strip().splitlines()[0]})"


def table_of(rows: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    """Rows as a table, a column per key, as `read_table` would read it: whole numbers stay whole beside None.

    Raises pyarrow.ArrowInvalid or ArrowTypeError where the cells of a column are of several kinds.
    """
    import pyarrow

    rows = [dict(row) for row in rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _frame(pyarrow.table({name: pyarrow.array([row.get(name) for row in rows]) for name in names}))


def _frame(table: "pyarrow.Table") -> "pandas.DataFrame":
    import pandas
    import pyarrow

    whole = {getattr(pyarrow, name.lower())(): pandas.api.types.pandas_dtype(name) for name in NULLABLE_INTEGERS}
    types = {**whole, pyarrow.bool_(): pandas.BooleanDtype()}
    decoded = [
        field.with_type(field.type.value_type) if pyarrow.types.is_dictionary(field.type) else field
        for field in table.schema
    ]
    return table.cast(pyarrow.schema(decoded)).to_pandas(types_mapper=types.get, ignore_metadata=True)


def shared_metadata(path: str | Path) -> dict[str, Any]:
    """What a file says about all files of its study: study, prompts, corpus; None for what it does not say."""
    metadata = read_metadata(path)
    return {key: metadata.get(key) for key in ("study", "prompts_digest", "corpus_digest")}


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The provenance that a Parquet file of headwise carries. Raises ParquetError as `read_arrow` does."""
    with open_parquet(path) as file:
        carried = file.schema_arrow.metadata[METADATA_KEY]
    try:
        return Carried(path, json.loads(carried))
    except (ValueError, TypeError):
        raise unusable(path, "carries headwise metadata that are no JSON: it is damaged") from None
