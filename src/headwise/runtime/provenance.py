"""Digests, atomic output, and the metadata that every file of a study carries.

Imported by the Snakefile, so nothing heavy is imported here at module level.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    import pyarrow
    import pyarrow.parquet

METADATA_KEY = b"headwise"
MAGIC = b"PAR1"  # the first and the last four bytes of a Parquet file
FORMAT_VERSION = 1
NULLABLE_INTEGERS = tuple(f"{sign}nt{bits}" for sign in ("I", "UI") for bits in (8, 16, 32, 64))
LIBRARIES = (
    "headwise",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "scipy",
    "scikit-learn",
    "pyarrow",
    "pandas",
)


class ParquetError(ValueError):
    """A Parquet file that cannot be used; the message names the file, what is wrong with it, and the remedy."""


class Carried(dict[str, Any]):
    """What a Parquet file of headwise says about its origin. Raises ParquetError for a key that it lacks."""

    def __init__(self, path: str | Path, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise unusable(self.path, f"does not say its '{key}': it was not written by this version of headwise")


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that results depend on, read without importing them."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it to `path` only if the block succeeds.

    The block may create a file or a folder there. Nothing half-written is ever visible under the final name,
    and nothing is left under the temporary one when the block fails.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same name in every process, so that what a killed one left is removed by the next; Snakemake's lock keeps two
    # processes from writing one output at a time.
    temporary = path.parent / f".{path.name}.partial"
    replaced = temporary.with_suffix(".replaced")
    _remove(temporary)
    _remove(replaced)
    try:
        yield temporary
        if temporary.is_dir() and path.exists():
            # A folder cannot be replaced in one step; deleting the old one in place would show half of it.
            os.replace(path, replaced)
        os.replace(temporary, path)
    finally:
        _remove(temporary)
        _remove(replaced)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(value: Any, path: str | Path) -> None:
    """Write a JSON value atomically, readable by people: indented, keys in the order given."""
    text = json_text(value, str(path), indent=2)
    with atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def json_text(value: Any, name: str, indent: int | None = None) -> str:
    """A JSON value as text. Raises ValueError, naming `name` and the place in it, for a number that is not finite."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        place, number = next(_not_finite(value), ("", None))
        if number is None:
            raise
        raise ValueError(
            f"{name}: {place} is {number}, which JSON cannot hold: what is undefined must be null, with a reason. "
            "Compute its input again"
        ) from None


def _not_finite(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in a JSON value that are not finite, each with its place: "comparisons[3].p"."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _not_finite(each, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for position, each in enumerate(value):
            yield from _not_finite(each, f"{place}[{position}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield place, value


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


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


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The provenance that a Parquet file of headwise carries. Raises ParquetError as `read_arrow` does."""
    with open_parquet(path) as file:
        carried = file.schema_arrow.metadata[METADATA_KEY]
    try:
        return Carried(path, json.loads(carried))
    except (ValueError, TypeError):
        raise unusable(path, "carries headwise metadata that are no JSON: it is damaged") from None
