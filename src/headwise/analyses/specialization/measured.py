"""What extraction measured on one model: the tables heads.parquet and pairs.parquet as plain arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from headwise.attention.sinks import SINKS
from headwise.runtime.parquet import read_arrow, read_metadata
from headwise.statistics.arrays import Float32Array, FloatArray

if TYPE_CHECKING:
    import pyarrow

# What both tables of a measurement share.
IDENTITY = ("study", "model", "seed", "weights_digest", "prompts_digest")
PAIR_COLUMNS = ("prompt", "layer", "sink")
HEAD_COLUMNS = (*PAIR_COLUMNS, "head", "tokens", "row_entropy_nats", "received")


@dataclass(frozen=True, eq=False)
class Measured:
    """Statistics of the attention of one model on P prompts, in L attention layers of H heads each.

    source            file that the statistics of heads come from, for messages
    prompts           P prompt ids
    tokens            (P,) tokens of each prompt
    layers            (L,) indices of the attention layers in the model
    heads             H
    row_entropy_nats  by sink: one (L, H, T) array per prompt of T tokens, entropy of each query's row; NaN
                      for rows left out
    received          by sink: one (L, H, T) array per prompt, mean over queries of the attention that each
                      key receives
    pairs             by statistic, then by sink: (P, L, H(H−1)/2), pairs of heads in the order of
                      `numpy.triu_indices(H, 1)`
    metadata          provenance that the tables carry
    """

    source: str
    prompts: tuple[str, ...]
    tokens: npt.NDArray[np.int32]
    layers: npt.NDArray[np.int16]
    heads: int
    row_entropy_nats: Mapping[str, tuple[Float32Array, ...]]
    received: Mapping[str, tuple[Float32Array, ...]]
    pairs: Mapping[str, Mapping[str, Float32Array]]
    metadata: Mapping[str, Any]

    def pair_mean(self, statistic: str, sink: str) -> FloatArray:
        """Mean of a statistic over the pairs of heads where it is defined: (P, L, 1), NaN without any.

        Raises ValueError where extraction did not compute the statistic.
        """
        values = self.pairs.get(statistic, {}).get(sink)
        if values is None:
            raise ValueError(
                f"{self.source}: extraction computed no pair statistic '{statistic}' with the sink {sink}: "
                f"add '{statistic}' to specialization.estimators of the study and extract again"
            )
        return defined_mean(values.astype(np.float64), axis=-1)[..., None]


def load_measured(heads: Path, pairs: Path) -> Measured:
    """Read the statistics of one model.

    Raises ValueError, naming the file, where the two tables come from different measurements or where their
    rows are not one per prompt, layer and head (or pair table: prompt and layer), in that order.
    """
    metadata, pair_metadata = read_metadata(heads), read_metadata(pairs)
    for key in IDENTITY:
        if metadata.get(key) != pair_metadata.get(key):
            raise ValueError(
                f"{heads} and {pairs} come from different measurements: their {key} is "
                f"{metadata.get(key)!r} and {pair_metadata.get(key)!r}. Extract the model again."
            )
    by_sink = _split(read_arrow(heads, HEAD_COLUMNS), heads)
    prompts, layers, units = _axes(by_sink, ("prompt", "layer", "head"), heads)
    shape = (len(prompts), len(layers), len(units))
    tokens = next(iter(by_sink.values()))["tokens"].to_numpy().reshape(shape)[:, 0, 0]

    pairs_by_sink = _split(read_arrow(pairs, PAIR_COLUMNS), pairs)
    pair_prompts, pair_layers = _axes(pairs_by_sink, ("prompt", "layer"), pairs)
    if pair_prompts != prompts or pair_layers != layers:
        raise ValueError(f"{heads} and {pairs} do not hold the same prompts and layers. Extract the model again.")
    described = {"prompt", "layer", "sink", "tokens", "heads"}
    statistics = [name for name in next(iter(pairs_by_sink.values())).column_names if name not in described]
    return Measured(
        source=str(heads),
        prompts=tuple(prompts),
        tokens=tokens,
        layers=np.array(layers, dtype=np.int16),
        heads=len(units),
        row_entropy_nats={
            sink: _per_prompt(table, "row_entropy_nats", tokens, shape, heads) for sink, table in by_sink.items()
        },
        received={sink: _per_prompt(table, "received", tokens, shape, heads) for sink, table in by_sink.items()},
        pairs={
            name: {
                sink: _pair_values(table, name, shape, pairs)
                for sink, table in pairs_by_sink.items()
                if table[name].null_count < len(table)
            }
            for name in statistics
        },
        metadata={key: value for key, value in metadata.items() if key not in ("format_version", "versions")},
    )


def defined_mean(values: FloatArray, axis: int) -> FloatArray:
    """Mean of the finite values along an axis; NaN, without a warning, where there is none."""
    finite = np.isfinite(values)
    count = finite.sum(axis=axis)
    return np.where(finite, values, 0.0).sum(axis=axis) / np.where(count > 0, count, np.nan)


def _split(table: "pyarrow.Table", path: Path) -> dict[str, "pyarrow.Table"]:
    """The table's rows by sink."""
    import pyarrow.compute

    parts: dict[str, Any] = {sink: table.filter(pyarrow.compute.equal(table["sink"], sink)) for sink in SINKS}
    parts = {sink: part for sink, part in parts.items() if len(part)}
    if not parts:
        raise ValueError(f"{path} holds no rows: no prompt was measured. Extract the model again.")
    return parts


def _axes(by_sink: dict[str, "pyarrow.Table"], names: tuple[str, ...], path: Path) -> list[list[Any]]:
    """Distinct values of the columns that index a table, checked to span it in row-major order by sink."""
    first = next(iter(by_sink.values()))
    axes = [first[name].unique().to_pylist() for name in names]
    sizes = [len(axis) for axis in axes]
    for table in by_sink.values():
        complete = len(table) == np.prod(sizes)
        for position, (name, axis) in enumerate(zip(names, axes, strict=True)):
            inner = int(np.prod(sizes[position + 1 :]))
            expected = np.tile(np.repeat(np.array(axis), inner), int(np.prod(sizes[:position])))
            complete = complete and np.array_equal(table[name].to_numpy(), expected)
        if not complete:
            raise ValueError(
                f"{path}: rows are not one per {', '.join(names)}, in that order. Extract the model again."
            )
    return axes


def _per_prompt(
    table: "pyarrow.Table", name: str, tokens: npt.NDArray[np.int32], shape: tuple[int, int, int], path: Path
) -> tuple[Float32Array, ...]:
    """A list column with one value per token, as one (L, H, T) view per prompt."""
    heads = shape[1] * shape[2]
    values = _values(table, name, np.repeat(tokens, heads), path)
    blocks = np.split(values, np.cumsum(tokens * heads)[:-1])
    return tuple(block.reshape(*shape[1:], -1) for block in blocks)


def _pair_values(table: "pyarrow.Table", name: str, shape: tuple[int, int, int], path: Path) -> Float32Array:
    """A list column with one value per pair of heads: (P, L, H(H−1)/2)."""
    count = shape[2] * (shape[2] - 1) // 2
    return _values(table, name, np.full(len(table), count), path).reshape(*shape[:2], count)


def _values(table: "pyarrow.Table", name: str, lengths: npt.NDArray[np.integer], path: Path) -> Float32Array:
    """All values of a list column, whose lists must have the given lengths."""
    import pyarrow.compute

    column = table[name].combine_chunks()
    found = pyarrow.compute.list_value_length(column).fill_null(-1).to_numpy()
    if not np.array_equal(found, lengths):
        row = int(np.argmax(found != lengths))
        raise ValueError(
            f"{path}: prompt '{table['prompt'][row]}', layer {table['layer'][row]}: {name} has "
            f"{found[row]} values, expected {lengths[row]}. Extract the model again."
        )
    return column.flatten().to_numpy(zero_copy_only=False)
