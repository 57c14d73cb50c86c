"""Specialization of one model: features.parquet and summary.parquet from what extraction measured.

Features are per prompt, for tests and intervals; the summary holds each estimator's value, its profile over
layers, the controls that are run on every estimator, and the companions that say what a value is made of.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from headwise.analyses.specialization.measured import Measured, defined_mean, load_measured
from headwise.analyses.specialization.registry import Estimator, estimator
from headwise.analyses.specialization.settings import Specialization
from headwise.runtime.parquet import read_arrow, write_table
from headwise.runtime.progress import track
from headwise.statistics.arrays import FloatArray
from headwise.statistics.generators import generator_for

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Summary:
    """One row of summary.parquet.

    scope      what the value is of: "model"; "layer"; "without_layer": the model without that layer;
               "head_permutation": mean over random orders of heads within layers;
               "head_permutation_largest_change"; or the name of a companion
    layer      index of the layer in the model; None where the value is not of one layer
    value      None where undefined
    deviation  standard deviation over the random orders of heads; None for other scopes
    reason     why the value is undefined; None where it is defined
    """

    estimator: str
    sink: str
    scope: str
    layer: int | None
    value: float | None
    deviation: float | None = None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Features:
    """Features of one estimator and sink: (prompts, layers, units), with prompt ids and layer indices."""

    prompts: tuple[str, ...]
    layers: tuple[int, ...]
    values: FloatArray


def evaluate(heads: Path, pairs: Path, features: Path, summary: Path, settings: Specialization, seed: int) -> None:
    """Compute the selected estimators of one model.

    heads, pairs       statistics that extraction wrote
    features, summary  tables to write
    settings           which estimators, and how many random orders of heads for the head-permutation check
    seed               of the model; sets the random orders of heads, nothing else

    Raises ValueError where the statistics lack what an estimator needs.
    """
    measured = load_measured(heads, pairs)
    chosen = [estimator(name) for name in settings.estimators]
    tasks = [(each, sink) for each in chosen for sink in each.sinks]
    computed: dict[tuple[str, str], FloatArray] = {}
    rows: list[Summary] = []
    for each, sink in track(tasks, f"specialization of {measured.metadata.get('model', heads)}", len(tasks)):
        values = computed[each.name, sink] = each.features(measured, sink)
        rng = generator_for("head permutation", seed, each.name, sink)
        rows += summarize(each, sink, measured, values, settings.head_permutations, rng)
    described = {
        each.name: {
            "definition": each.definition,
            "source": each.source,
            "low": each.low if np.isfinite(each.low) else None,
            "high": each.high if np.isfinite(each.high) else None,
            "companions": {companion.name: companion.definition for companion in each.companions},
        }
        for each in chosen
    }
    metadata: dict[str, Any] = {
        **measured.metadata,
        "tokens_per_prompt": measured.tokens.tolist(),
        "estimators": described,
    }
    write_table(_features_table(measured, computed), features, metadata)
    write_table(_summary_table(rows), summary, metadata)


def summarize(
    each: Estimator,
    sink: str,
    measured: Measured,
    features: FloatArray,
    permutations: int,
    rng: np.random.Generator,
) -> Iterator[Summary]:
    """Value, profile, controls and companions of an estimator, from its features (prompts, layers, units)."""
    layers = [int(layer) for layer in measured.layers]
    mean = defined_mean(features, axis=0)
    row = partial(_row, each, sink, impossible=each.undefined_because(measured.heads, len(layers)))
    yield from profile(each, sink, measured, features)

    value = each.summary(mean)
    too_few = each.undefined_because(measured.heads, len(layers) - 1)
    for position, layer in enumerate(layers):
        rest = np.nan if too_few else each.summary(np.delete(mean, position, axis=0))
        yield row("without_layer", rest, layer, impossible=too_few)

    changes = shuffled(each, mean, permutations, rng) - value
    yield row("head_permutation", value + changes.mean(), deviation=float(changes.std()))
    yield row("head_permutation_largest_change", np.abs(changes).max())

    for companion in each.companions:
        own = mean if companion.features is None else defined_mean(companion.features(measured, sink), axis=0)
        values = np.atleast_1d(companion.summary(own))
        places: list[int | None] = [*layers] if companion.per_layer else [None]
        for place, number in zip(places, values, strict=True):
            yield row(companion.name, number, place, undefined=companion.undefined)


def profile(each: Estimator, sink: str, measured: Measured, features: FloatArray) -> Iterator[Summary]:
    """Value of the model (scope "model") and, where an estimator has them, of each layer (scope "layer")."""
    mean = defined_mean(features, axis=0)
    row = partial(_row, each, sink, impossible=each.undefined_because(measured.heads, len(mean)))
    yield row("model", each.summary(mean))
    if each.per_layer:
        for layer, layer_mean in zip(measured.layers, mean[:, 0], strict=True):
            yield row("layer", layer_mean, int(layer))


def _row(
    each: Estimator,
    sink: str,
    scope: str,
    value: npt.ArrayLike,
    layer: int | None = None,
    deviation: float | None = None,
    *,
    impossible: str | None,
    undefined: str | None = None,
) -> Summary:
    """One row, or why there is no value: it is impossible, or undefined for this attention."""
    number = float(np.asarray(value))
    if impossible is None and np.isfinite(number):
        return Summary(each.name, sink, scope, layer, number, deviation)
    return Summary(each.name, sink, scope, layer, None, reason=impossible or undefined or each.undefined)


def shuffled(each: Estimator, mean: FloatArray, permutations: int, rng: np.random.Generator) -> FloatArray:
    """The estimator's value with heads in random orders, drawn independently in each layer: (permutations,).

    mean  mean features (layers, units); an estimator with one unit per layer pools its heads already, so that
          no order changes it
    """
    orders = rng.permuted(np.tile(np.arange(mean.shape[1]), (permutations, mean.shape[0], 1)), axis=-1)
    return each.summary(np.take_along_axis(np.broadcast_to(mean, orders.shape), orders, axis=-1))


def read_features(path: Path) -> dict[tuple[str, str], Features]:
    """Features by (estimator, sink), as `evaluate` wrote them, in the order of the file."""
    import pyarrow.compute

    table = read_arrow(path, ["estimator", "sink", "prompt", "layer", "value"])
    found = {}
    pairs = table.group_by(["estimator", "sink"], use_threads=False).aggregate([])
    for name, sink in zip(pairs["estimator"].to_pylist(), pairs["sink"].to_pylist(), strict=True):
        chosen = pyarrow.compute.and_(
            pyarrow.compute.equal(table["estimator"], name), pyarrow.compute.equal(table["sink"], sink)
        )
        rows = table.filter(chosen)
        prompts = tuple(rows["prompt"].unique().to_pylist())
        layers = tuple(rows["layer"].unique().to_pylist())
        values = rows["value"].to_numpy().reshape(len(prompts), len(layers), -1)
        found[name, sink] = Features(prompts, layers, values)
    return found


def _features_table(measured: Measured, computed: dict[tuple[str, str], FloatArray]) -> "pyarrow.Table":
    import pyarrow

    parts = []
    for (name, sink), values in computed.items():
        prompt, layer, unit = np.indices(values.shape).reshape(3, -1)
        columns = {
            "estimator": pyarrow.repeat(name, values.size),
            "sink": pyarrow.repeat(sink, values.size),
            "prompt": pyarrow.array(measured.prompts).take(prompt),
            "layer": measured.layers[layer],
            "unit": unit.astype(np.int16),
            "value": values.ravel(),
        }
        parts.append(pyarrow.table(columns))
    return pyarrow.concat_tables(parts)


def _summary_table(rows: list[Summary]) -> "pyarrow.Table":
    import pyarrow

    schema = pyarrow.schema(
        {
            "estimator": pyarrow.string(),
            "sink": pyarrow.string(),
            "scope": pyarrow.string(),
            "layer": pyarrow.int16(),
            "value": pyarrow.float64(),
            "deviation": pyarrow.float64(),
            "reason": pyarrow.string(),
        }
    )
    return pyarrow.Table.from_pylist([asdict(row) for row in rows], schema=schema)
