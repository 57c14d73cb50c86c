"""What attention takes on disk, and how fast it is written and read, by encoding.

    python benchmarks/storage.py results/default/attention/*/seed1.parquet [--runs 5]

Reads the tensor files of a finished study, writes their weights anew in each encoding, row groups as they are, reads
them back. Rates are megabytes of float16 weights per second of processor time on one thread, medians over runs in which
all encodings take turns. Below the table is what headwise does with a file: `stream` gives whole float32 matrices,
`read_layer` one layer of one prompt, for which it reads the row groups of that prompt alone.
"""

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow
import pyarrow.parquet
from measure import processor_seconds

from headwise.attention.store import read_layer, stream

ENCODINGS: dict[str, dict[str, Any]] = {
    "plain": {"compression": "none"},
    "plain, lz4": {"compression": "lz4"},
    "plain, snappy": {"compression": "snappy"},
    "plain, zstd 1 (in use)": {"compression": "zstd", "compression_level": 1},
    "plain, zstd 3": {"compression": "zstd", "compression_level": 3},
    "byte stream split, zstd 1": {
        "compression": "zstd",
        "compression_level": 1,
        "column_encoding": {"weights.list.element": "BYTE_STREAM_SPLIT"},
    },
    "dictionary, zstd 1": {"compression": "zstd", "compression_level": 1, "use_dictionary": True},
}


def groups_of(paths: list[Path]) -> tuple[list[pyarrow.Table], int]:
    """The row groups of all files, and the number of their weights."""
    groups = []
    for path in paths:
        with pyarrow.parquet.ParquetFile(path) as file:
            groups += [file.read_row_group(group).replace_schema_metadata() for group in range(file.num_row_groups)]
    return groups, sum(len(chunk.flatten()) for group in groups for chunk in group["weights"].chunks)


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
            for name, settings in ENCODINGS.items():
                written[name].append(processor_seconds(lambda n=name, s=settings: write(groups, paths[n], s)))
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


if __name__ == "__main__":
    main()
