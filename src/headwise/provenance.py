"""Digests, atomic output, and the metadata that every file of a study carries.

Imported by the Snakefile, so nothing heavy is imported here at module level.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    import pyarrow

METADATA_KEY = b"headwise"
FORMAT_VERSION = 1
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
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


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


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The provenance that a Parquet file of headwise carries.

    Raises ValueError, naming the file, when it carries none.
    """
    import pyarrow.parquet

    carried = (pyarrow.parquet.read_schema(path).metadata or {}).get(METADATA_KEY)
    if carried is None:
        raise ValueError(f"{path} carries no headwise metadata: it was not written by headwise. Compute it again.")
    return json.loads(carried)
