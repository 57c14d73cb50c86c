"""Published specialization indices computed again, with what they do and do not depend on."""

from collections.abc import Iterator

import numpy as np

from headwise.arrays import FloatArray
from headwise.reanalysis.release import Index, Pair
from headwise.reanalysis.row import MATRIX_MISSING, Row, row
from headwise.specialization.estimators.entropy_profile import ESTIMATOR, summary, thirds
from headwise.specialization.evaluate import shuffled
from headwise.statistics.generators import generator_for
from headwise.statistics.result import finite_or_none, joined

ORDERS = 200
RESAMPLES = 999
LEVEL = 0.05
OVER_LAYERS = (
    "describes this model's layers: not other models, prompts or refits; layers repeat in a resample and depend on "
    "their neighbours"
)
RELATIVE_IS_ABSOLUTE = "the printed per cent are the absolute change times 100, not a relative change"


def index_rows(index: Index) -> Iterator[Row]:
    """The index from its matrix, else from the correlations of heads; then its dependence on order and layers."""
    if index.entropies is None:
        value = _from_correlations(index.correlations)
        remark = joined(MATRIX_MISSING, "printed as no number" if index.printed is None else None)
        method = "from the printed correlations of heads" if value is not None else ""
        yield row(
            index.place,
            "index",
            "specialization index",
            printed=index.printed,
            value=value,
            method=method,
            remark=remark,
        )
        return
    entropies = index.entropies
    layers, heads = entropies.shape
    value = finite_or_none(float(summary(entropies)))
    shape = f"{layers} layers × {heads} heads"
    reason = None if value is not None else ESTIMATOR.undefined
    yield row(
        index.place, "index", "specialization index", printed=index.printed, value=value, n=layers,
        method=f"1 − mean correlation of heads over layers, {shape}", remark=reason,
    )  # fmt: skip
    if value is None:
        return
    orders = shuffled(ESTIMATOR, entropies, ORDERS, _generator(index, "orders"))
    yield row(
        index.place, "head order", "index with heads in random orders within layers", value=float(orders.mean()),
        low=float(orders.min()), high=float(orders.max()), n=ORDERS, method=f"mean, least and most of {ORDERS} orders",
        remark=f"mean change {orders.mean() - value:+.4f}, deviation {orders.std():.4f}",
    )  # fmt: skip
    yield from _left_out(index, entropies)
    drawn = summary(entropies[_layers(index, layers)])
    low, high = np.nanquantile(drawn, [LEVEL / 2, 1 - LEVEL / 2])
    yield row(
        index.place, "bootstrap over layers", "specialization index", value=value, low=float(low), high=float(high),
        n=layers, method=f"percentile bootstrap over layers, {RESAMPLES} resamples", remark=OVER_LAYERS,
    )  # fmt: skip


def _left_out(index: Index, entropies: FloatArray) -> Iterator[Row]:
    """The index without each layer, and without each third of the depth."""
    layers = len(entropies)
    single = np.array([float(summary(np.delete(entropies, layer, axis=0))) for layer in range(layers)])
    if np.isfinite(single).all():
        full = float(summary(entropies))
        strongest = int(np.argmax(np.abs(single - full)))
        yield row(
            index.place, "left-out layers", "index without any one layer", value=float(single[strongest]),
            low=float(single.min()), high=float(single.max()), n=layers, method="least and most over all layers",
            remark=f"layer {strongest} matters most: {single[strongest] - full:+.4f}",
        )  # fmt: skip
    for region, part in thirds(layers).items():
        rest = np.delete(entropies, part, axis=0)
        without = finite_or_none(float(summary(rest)))
        yield row(
            index.place, "left-out layers", f"index without the {region} third", value=without, n=len(rest),
            method="the other layers", remark=None if without is not None else "too few layers are left",
        )  # fmt: skip


def pair_rows(pair: Pair) -> Iterator[Row]:
    """Absolute and relative change in rows of their own, and the absolute one over resampled layers."""
    base, aligned = (_value(index) for index in (pair.base, pair.aligned))
    place = pair.aligned.place
    missing = None if base is not None and aligned is not None else "an index is missing"
    printed_only = None
    if missing is None and any(index.entropies is None for index in (pair.base, pair.aligned)):
        printed_only = "from printed indices: the file holds no matrix of entropies for both"
    absolute = None if base is None or aligned is None else aligned - base
    yield row(
        place, "absolute change", "index, aligned minus base", printed=pair.absolute, value=absolute,
        method="difference", remark=joined(missing, printed_only),
    )  # fmt: skip
    relative = None if absolute is None or not base else 100 * absolute / base
    mixed = None
    if pair.relative_percent is not None and absolute is not None and relative is not None:
        as_absolute = abs(pair.relative_percent - 100 * absolute) < 0.01 * abs(100 * absolute)
        mixed = RELATIVE_IS_ABSOLUTE if as_absolute and abs(relative - 100 * absolute) > 0.01 * abs(relative) else None
    yield row(
        place, "relative change", "index, aligned minus base, in % of base", printed=pair.relative_percent,
        value=relative, method="difference / base", remark=joined(missing, printed_only, mixed),
    )  # fmt: skip
    matrices = pair.base.entropies, pair.aligned.entropies
    if matrices[0] is None or matrices[1] is None or len(matrices[0]) != len(matrices[1]):
        return
    chosen = _layers(pair.aligned, len(matrices[0]))
    drawn = summary(matrices[1][chosen]) - summary(matrices[0][chosen])
    low, high = np.nanquantile(drawn, [LEVEL / 2, 1 - LEVEL / 2])
    yield row(
        place, "bootstrap over layers", "index, aligned minus base", value=absolute, low=float(low), high=float(high),
        n=len(matrices[0]), method=f"percentile bootstrap over layers, the same in both, {RESAMPLES} resamples",
        remark=OVER_LAYERS,
    )  # fmt: skip


def _value(index: Index) -> float | None:
    """The index from its matrix, else as printed."""
    computed = None if index.entropies is None else finite_or_none(float(summary(index.entropies)))
    return index.printed if computed is None else computed


def _from_correlations(correlations: FloatArray | None) -> float | None:
    if correlations is None or correlations.shape[0] != correlations.shape[1] or len(correlations) < 2:
        return None
    pairs = correlations[np.triu_indices(len(correlations), 1)]
    pairs = pairs[np.isfinite(pairs)]
    return float(1 - pairs.mean()) if len(pairs) else None


def _layers(index: Index, layers: int) -> np.ndarray:
    """Layers of each resample: (RESAMPLES, layers)."""
    return _generator(index, "layers").integers(0, layers, size=(RESAMPLES, layers))


def _generator(index: Index, purpose: str) -> np.random.Generator:
    return generator_for("reanalysis", purpose, index.place.file, str(index.place))
