"""Attention and its statistics as Parquet files that any tool can read, written while layers stream in.

A tensor file has one row per (prompt, layer, head): `weights` is the lower triangle with diagonal, row by
row, T (T + 1) / 2 float16 values, or for encoders the full matrix (`support` in the metadata says which).
float16 keeps 11 significant bits; weights below 6e-5 keep fewer and those below 3e-8 become 0, so
statistics are computed before storage.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from numpy.typing import NDArray
from torch import Tensor

from headwise.attention.capture import Support
from headwise.attention.layer_statistics import HeadStatistics, pair_columns
from headwise.attention.row_tiles import row_tiles
from headwise.attention.sinks import SINKS, Sink
from headwise.runtime.atomic import atomic
from headwise.runtime.parquet import open_parquet, read_arrow, read_metadata, reading, with_metadata

# A row group is written when so much is buffered; a tensor file also begins one with each prompt.
BUFFER_BYTES = 64 * 2**20
# Offsets of a list column are 32-bit.
MOST_ENTRIES = 2**31 - 1


def _list_of(values: pyarrow.DataType) -> pyarrow.DataType:
    """A list of values that are never null, which is read faster from Parquet."""
    return pyarrow.list_(pyarrow.field("element", values, nullable=False))


TENSOR_SCHEMA = pyarrow.schema(
    [
        ("prompt", pyarrow.string()),
        ("layer", pyarrow.int16()),
        ("head", pyarrow.int16()),
        ("tokens", pyarrow.int32()),
        pyarrow.field("weights", _list_of(pyarrow.float16()), nullable=False),
    ]
)
HEADS_SCHEMA = pyarrow.schema(
    [
        ("prompt", pyarrow.string()),
        ("layer", pyarrow.int16()),
        ("head", pyarrow.int16()),
        ("sink", pyarrow.string()),
        ("tokens", pyarrow.int32()),
        ("rows_left_out", pyarrow.int32()),
        ("row_entropy_nats", _list_of(pyarrow.float32())),
        ("received", _list_of(pyarrow.float32())),
    ]
)
PAIR_IDENTITY = (
    ("prompt", pyarrow.string()),
    ("layer", pyarrow.int16()),
    ("sink", pyarrow.string()),
    ("tokens", pyarrow.int32()),
    ("heads", pyarrow.int16()),
)


class Packing:
    """Attention of one layer on its way to `packed`, float16 (heads, entries): the lower triangle row by row, or the
    whole matrix for "full" support."""

    def __init__(self, heads: int, tokens: int, support: Support) -> None:
        self.tokens = tokens
        self.support = support
        self.packed = np.zeros((heads, _packed_entries(tokens, support)), np.float16)

    def add(self, first: int, tile: Tensor) -> None:
        """Take in weights (heads, rows, keys) of rows from position `first` on; keys beyond the tile's get nothing."""
        values = tile.half().cpu().numpy()
        keys = values.shape[-1]
        for row in range(values.shape[1]):
            position = first + row
            start, visible = position * self.tokens, keys
            if self.support == "causal":
                start, visible = position * (position + 1) // 2, min(keys, position + 1)
            self.packed[:, start : start + visible] = values[:, row, :visible]


def pack(weights: Tensor, support: Support) -> NDArray[np.float16]:
    """Attention (heads, T, T) as float16 (heads, entries): the lower triangle row by row, all if `full`."""
    packing = Packing(weights.shape[0], weights.shape[1], support)
    for first, tile in row_tiles(weights):
        packing.add(first, tile)
    return packing.packed


def _packed_entries(tokens: int, support: Support) -> int:
    return tokens * (tokens + 1) // 2 if support == "causal" else tokens**2


def unpack(packed: NDArray[np.float16], tokens: int, support: Support) -> NDArray[np.float32]:
    """The inverse of `pack`, as float32 (heads, tokens, tokens)."""
    if support == "full":
        return packed.reshape(-1, tokens, tokens).astype(np.float32)
    weights = np.zeros((len(packed), tokens**2), np.float32)
    weights[:, _lower_triangle(tokens)] = packed
    return weights.reshape(-1, tokens, tokens)


@lru_cache(maxsize=16)
def _lower_triangle(tokens: int) -> NDArray[np.intp]:
    """Where the lower triangle with diagonal is in a flattened square matrix."""
    return np.flatnonzero(np.tri(tokens, dtype=bool))


class _Writer:
    """Buffers rows and writes them to an open Parquet file, a row group at a time."""

    def __init__(self, parquet: pyarrow.parquet.ParquetWriter) -> None:
        self._parquet = parquet
        self._buffer: list[pyarrow.RecordBatch] = []
        self._buffered_bytes = 0

    @classmethod
    @contextmanager
    def _open(cls, path: Path, schema: pyarrow.Schema, metadata: Mapping[str, Any]) -> Iterator[Self]:
        with (
            atomic(path) as temporary,
            pyarrow.parquet.ParquetWriter(
                temporary,
                with_metadata(schema, metadata),
                compression="zstd",
                compression_level=1,
                # Attention values hardly repeat. They stay in plain encoding: BYTE_STREAM_SPLIT makes long
                # prompts 6 % smaller, but DuckDB does not read it for float16.
                use_dictionary=["prompt", "sink"],
                write_statistics=["prompt", "layer", "head"],
            ) as parquet,
        ):
            writer = cls(parquet)
            yield writer
            writer._write_row_group()

    def _append(self, columns: Sequence[pyarrow.Array]) -> None:
        batch = pyarrow.RecordBatch.from_arrays(columns, schema=self._parquet.schema)
        self._buffer.append(batch)
        self._buffered_bytes += batch.nbytes
        if self._buffered_bytes >= BUFFER_BYTES:
            self._write_row_group()

    def _write_row_group(self) -> None:
        if self._buffer:
            self._parquet.write_table(pyarrow.Table.from_batches(self._buffer))
            self._buffer.clear()
            self._buffered_bytes = 0


class TensorWriter(_Writer):
    """Writes the attention of layer after layer, prompt after prompt. Memory is bounded by one row group.

    Use as `with TensorWriter.open(path, "causal", metadata) as writer: writer.add(...)`. The file appears
    under its name when the block succeeds. A layer is never split between row groups.
    """

    _support: Support
    _prompt: str | None = None

    @classmethod
    @contextmanager
    def open(cls, path: Path, support: Support, metadata: Mapping[str, Any]) -> Iterator[Self]:
        """A writer of the file at `path`, whose metadata also tell the support."""
        with cls._open(path, TENSOR_SCHEMA, {**metadata, "support": support}) as writer:
            writer._support = support
            yield writer

    def add(self, prompt: str, layer: int, weights: Tensor) -> None:
        """Append the attention weights (heads, T, T) of a layer on a prompt."""
        self.add_packed(prompt, layer, weights.shape[-1], pack(weights, self._support))

    def add_packed(self, prompt: str, layer: int, tokens: int, packed: NDArray[np.float16]) -> None:
        """Append what `pack` gives, or a complete `Packing` holds, of a layer on a prompt of that many tokens."""
        if prompt != self._prompt:
            self._write_row_group()
            self._prompt = prompt
        heads = len(packed)
        if packed.size > MOST_ENTRIES:
            raise ValueError(
                f"prompt '{prompt}', layer {layer}: the weights of {heads} heads on {tokens} tokens are more than one "
                "row group of a Parquet file can hold: set extraction.store to statistics, or shorten the prompt"
            )
        self._append(
            [
                pyarrow.array([prompt] * heads),
                _constant(layer, heads, np.int16),
                pyarrow.array(np.arange(heads, dtype=np.int16)),
                _constant(tokens, heads, np.int32),
                _lists(packed),
            ]
        )


class HeadStatisticsWriter(_Writer):
    """Writes heads.parquet: one row per (prompt, layer, head, sink). See `TensorWriter` for its use."""

    @classmethod
    @contextmanager
    def open(cls, path: Path, metadata: Mapping[str, Any]) -> Iterator[Self]:
        """A writer of the file at `path`."""
        with cls._open(path, HEADS_SCHEMA, metadata) as writer:
            yield writer

    def add(self, prompt: str, layer: int, statistics: Mapping[Sink, HeadStatistics]) -> None:
        """Append the statistics of a layer's heads, both sinks."""
        by_sink = [statistics[sink] for sink in SINKS]
        heads, tokens = by_sink[0].received.shape
        rows = heads * len(SINKS)
        self._append(
            [
                pyarrow.array([prompt] * rows),
                _constant(layer, rows, np.int16),
                pyarrow.array(np.repeat(np.arange(heads, dtype=np.int16), len(SINKS))),
                pyarrow.array([*SINKS] * heads),
                _constant(tokens, rows, np.int32),
                pyarrow.array(_interleaved([each.rows_left_out for each in by_sink], torch.int32)),
                _lists(_interleaved([each.row_entropy_nats for each in by_sink], torch.float32)),
                _lists(_interleaved([each.received for each in by_sink], torch.float32)),
            ]
        )


class PairStatisticsWriter(_Writer):
    """Writes pairs.parquet: one row per (prompt, layer, sink). See `TensorWriter` for its use."""

    _columns: list[str]

    @classmethod
    @contextmanager
    def open(cls, path: Path, names: Sequence[str], metadata: Mapping[str, Any]) -> Iterator[Self]:
        """A writer of the file at `path`, for what `layer_statistics.pair_statistics` gives for `names`."""
        columns = pair_columns(names)
        fields = [(name, _list_of(pyarrow.float32())) for name in columns]
        with cls._open(path, pyarrow.schema([*PAIR_IDENTITY, *fields]), metadata) as writer:
            writer._columns = columns
            yield writer

    def add(
        self,
        prompt: str,
        layer: int,
        statistics: Mapping[Sink, Mapping[str, Tensor]],
        *,
        tokens: int,
        heads: int,
    ) -> None:
        """Append the statistics of a layer's pairs of heads; null where a sink has no such statistic."""
        rows = len(SINKS)
        columns = [
            pyarrow.array(
                [statistics[sink][name].float().cpu().numpy() if name in statistics[sink] else None for sink in SINKS],
                _list_of(pyarrow.float32()),
            )
            for name in self._columns
        ]
        self._append(
            [
                pyarrow.array([prompt] * rows),
                _constant(layer, rows, np.int16),
                pyarrow.array([*SINKS]),
                _constant(tokens, rows, np.int32),
                _constant(heads, rows, np.int16),
                *columns,
            ]
        )


@dataclass(frozen=True)
class StoredLayer:
    """The stored attention of a layer on a prompt of T tokens: float32 (heads, T, T), rounded to float16."""

    prompt: str
    layer: int
    weights: NDArray[np.float32]


def read_layer(path: str | Path, prompt: str, layer: int) -> NDArray[np.float32]:
    """The attention (heads, T, T) of one layer on one prompt of a tensor file.

    Reads only the row groups that can hold it.

    Raises KeyError, naming the file, where the file has no such prompt or layer.
    """
    table = read_arrow(path, TENSOR_SCHEMA.names, filters=[("prompt", "==", prompt), ("layer", "==", layer)])
    if not table.num_rows:
        raise KeyError(f"{path} holds no layer {layer} of prompt '{prompt}'")
    return _unpack_rows(table, read_metadata(path)["support"])


def stream(path: str | Path) -> Iterator[StoredLayer]:
    """All layers of all prompts of a tensor file in its order, reading one row group at a time."""
    support = read_metadata(path)["support"]
    with open_parquet(path, TENSOR_SCHEMA.names) as file, reading(path):
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            # A layer's rows follow one another, and the first of them is that of head 0.
            starts = np.flatnonzero(table["head"].to_numpy() == 0)
            for start, end in zip(starts, [*starts[1:], table.num_rows], strict=True):
                rows = table.slice(start, end - start)
                yield StoredLayer(rows["prompt"][0].as_py(), rows["layer"][0].as_py(), _unpack_rows(rows, support))


def _unpack_rows(rows: pyarrow.Table, support: Support) -> NDArray[np.float32]:
    values = rows["weights"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return unpack(values.reshape(rows.num_rows, -1), rows["tokens"][0].as_py(), support)


def _constant(value: int, rows: int, dtype: type[np.integer]) -> pyarrow.Array:
    return pyarrow.array(np.full(rows, value, dtype))


def _lists(rows: NDArray) -> pyarrow.Array:
    """A list column from an array (rows, entries)."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    values = pyarrow.array(rows.reshape(-1))
    return pyarrow.ListArray.from_arrays(offsets, values, type=_list_of(values.type))


def _interleaved(by_sink: Sequence[Tensor], dtype: torch.dtype) -> NDArray:
    """(heads, ...) tensors of each sink as one array (heads x sinks, ...), head by head."""
    interleaved: NDArray = torch.stack(list(by_sink), dim=1).flatten(0, 1).to(dtype).cpu().numpy()
    return interleaved
