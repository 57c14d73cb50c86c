"""What attention takes on disk, and how fast it is written and read, by encoding.

    python benchmarks/storage.py results/default/attention/*/seed1.parquet [--runs 5]

Reads the tensor files of a finished study, writes their weights anew in each encoding, row groups as they are, reads
them back. Rates are megabytes of float16 weights per second of processor time on one thread, medians over runs in which
all encodings take turns. Below the table is what headwise does with a file: `stream` gives whole float32 matrices,
`read_layer` one layer of one prompt, for which it reads the row groups of that prompt alone. At last, file by file, the
bytes per weight and the entropy of the stored numbers, below which nothing that takes each weight by itself can pack
them.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet
import scipy.stats
from measure import processor_seconds

from headwise.attention.store import read_layer, stream

ZSTD = {"compression": "zstd", "compression_level": 1}


def as_stored(weights: pyarrow.ListArray) -> pyarrow.Array:
    return weights


def with_nulls(weights: pyarrow.ListArray) -> pyarrow.Array:
    """The same as lists whose values may be null, as pyarrow makes them unless told."""
    return weights.cast(pyarrow.list_(pyarrow.float16()))


def as_bytes(weights: pyarrow.ListArray) -> pyarrow.Array:
    """The bytes of each list as one value of a binary column."""
    offsets = pyarrow.py_buffer((2 * weights.offsets.to_numpy()).astype(np.int32))
    return pyarrow.Array.from_buffers(
        pyarrow.binary(), len(weights), [None, offsets, weights.values.buffers()[1]], offset=0
    )


# What becomes of the column of weights, and how it is written.
ENCODINGS: dict[str, tuple[Callable[[pyarrow.ListArray], pyarrow.Array], dict[str, Any]]] = {
    "plain": (as_stored, {"compression": "none"}),
    "plain, lz4": (as_stored, {"compression": "lz4"}),
    "plain, snappy": (as_stored, {"compression": "snappy"}),
    "plain, zstd 1 (in use)": (as_stored, ZSTD),
    "plain, zstd 1, values may be null": (with_nulls, ZSTD),
    "plain, zstd 3": (as_stored, {"compression": "zstd", "compression_level": 3}),
    "byte stream split, zstd 1": (
        as_stored,
        {**ZSTD, "column_encoding": {"weights.list.element": "BYTE_STREAM_SPLIT"}},
    ),
    "dictionary, zstd 1": (as_stored, {**ZSTD, "use_dictionary": True}),
    "bytes, zstd 1": (as_bytes, ZSTD),
}


def groups_of(paths: list[Path]) -> tuple[list[pyarrow.Table], int]:
    """The row groups of all files, and the number of their weights."""
    groups = []
    for path in paths:
        with pyarrow.parquet.ParquetFile(path) as file:
            groups += [file.read_row_group(group).replace_schema_metadata() for group in range(file.num_row_groups)]
    return groups, sum(len(chunk.flatten()) for group in groups for chunk in group["weights"].chunks)


def with_weights(group: pyarrow.Table, change: Callable[[pyarrow.ListArray], pyarrow.Array]) -> pyarrow.Table:
    changed = change(group["weights"].combine_chunks())
    return group.set_column(group.schema.get_field_index("weights"), "weights", changed)


def occurrences(path: Path) -> npt.NDArray[np.int64]:
    """How often each of the 65,536 float16 numbers is stored in a file."""
    counts = np.zeros(2**16, np.int64)
    with pyarrow.parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            weights = file.read_row_group(group, columns=["weights"])["weights"].combine_chunks().values
            counts += np.bincount(weights.to_numpy(zero_copy_only=False).view(np.uint16), minlength=2**16)
    return counts


def write(groups: list[pyarrow.Table], path: Path, options: dict[str, Any]) -> None:
    settings = {"use_dictionary": False, "write_statistics": ["prompt", "layer", "head"], **options}
    with pyarrow.parquet.ParquetWriter(path, groups[0].schema, **settings) as writer:
        for group in groups:
            writer.write_table(group)


def read(path: Path) -> None:
    with pyarrow.parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            file.read_row_group(group, columns=["weights"], use_threads=False)


def read_by_duckdb(path: Path) -> str:
    try:
        duckdb.sql(f"select sum(list_sum(weights::float[])) from '{path}'").fetchall()
    except duckdb.ConversionException:
        return "as bytes only"
    except duckdb.Error:
        return "no"
    return "yes"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("files", type=Path, nargs="+")
    options.add_argument("--runs", type=int, default=5)
    chosen = options.parse_args()
    pyarrow.set_cpu_count(1)
    groups, entries = groups_of(chosen.files)
    megabytes = 2 * entries / 1e6
    print(f"{len(groups):,} row groups, {entries:,} weights, {megabytes:.0f} MB as float16")
    print("| encoding | bytes per weight | written, MB/s | read, MB/s | DuckDB reads it |\n" + "|---" * 5 + "|")
    with TemporaryDirectory() as folder:
        paths = {name: Path(folder, f"{number}.parquet") for number, name in enumerate(ENCODINGS)}
        written: dict[str, list[float]] = {name: [] for name in ENCODINGS}
        back: dict[str, list[float]] = {name: [] for name in ENCODINGS}
        for _ in range(chosen.runs):
            for name, (change, settings) in ENCODINGS.items():
                changed = [with_weights(group, change) for group in groups]
                written[name].append(processor_seconds(lambda n=name, c=changed, s=settings: write(c, paths[n], s)))
                back[name].append(processor_seconds(lambda n=name: read(paths[n])))
        for name, path in paths.items():
            print(
                f"| {name} | {path.stat().st_size / entries:.2f} | {megabytes / statistics.median(written[name]):.0f} "
                f"| {megabytes / statistics.median(back[name]):.0f} | {read_by_duckdb(path)} |"
            )
    streamed = [
        processor_seconds(lambda: [sum(1 for _ in stream(path)) for path in chosen.files]) for _ in range(chosen.runs)
    ]
    print(f"stream: {megabytes / statistics.median(streamed):.0f} MB/s")
    first = next(stream(chosen.files[0]))
    single = [
        processor_seconds(lambda: read_layer(chosen.files[0], first.prompt, first.layer))
        for _ in range(10 * chosen.runs)
    ]
    print(f"read_layer: {1e3 * statistics.median(single):.1f} ms")
    print("\n| file | bytes per weight | entropy, bytes |\n" + "|---" * 3 + "|")
    for path in chosen.files:
        stored = occurrences(path)
        entropy = scipy.stats.entropy(stored, base=2) / 8
        print(f"| {path.parent.name} | {path.stat().st_size / stored.sum():.2f} | {entropy:.2f} |")


if __name__ == "__main__":
    main()
