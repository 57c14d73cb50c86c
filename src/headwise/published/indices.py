"""Published specialization indices computed again, with what they do and do not depend on."""

from collections.abc import Iterator, Sequence

import numpy as np

from headwise.analyses.specialization.estimators.entropy_profile import ESTIMATOR, summary, thirds
from headwise.analyses.specialization.evaluate import shuffled
from headwise.published.items import Index, Pair, Place
from headwise.published.row import MATRIX_MISSING, Row, row
from headwise.statistics.arrays import FloatArray
from headwise.statistics.generators import generator_for
from headwise.statistics.result import finite_or_none, joined
from headwise.statistics.ties import OF_ONE

ORDERS = 200
RESAMPLES = 999
LEVEL = 0.05
OVER_LAYERS = (
    "describes this model's layers: not other models, prompts or refits; layers repeat in a resample and depend on "
    "their neighbours"
)
# Entropies that differ by less are the same: rounding.
DIGITS = 12
SAME_AS = "the same as at"
RELATIVE_IS_ABSOLUTE = "the printed per cent are the absolute change times 100, not a relative change"


class Seen:
    """Where each matrix, or pair of matrices, stood first: the same again is no second measurement."""

    def __init__(self) -> None:
        self._first: dict[tuple[bytes, ...], Place] = {}

    def earlier(self, place: Place, *matrices: FloatArray | None) -> str | None:
        """Where the same stood before, in words; None where it did not, or where a matrix is missing."""
        present = [each for each in matrices if each is not None]
        if len(present) < len(matrices):
            return None
        first = self._first.setdefault(tuple(map(_key, present)), place)
        if first is place:
            return None
        where = str(first) if first.file == place.file else f"{first.file}: {first}"
        model = "" if first.model == place.model else f", there of {first.model or 'a model without name'}"
        return f"{SAME_AS} {where}{model}"


def _key(matrix: FloatArray) -> bytes:
    """The same for equal matrices. Means of equal matrices differ in the last digits."""
    return repr(matrix.shape).encode() + (matrix.round(DIGITS) + 0.0).tobytes()


def index_rows(index: Index, seen: Seen) -> Iterator[Row]:
    """The index from its matrix, else from the correlations of heads; then its dependence on order and layers.

    The latter once for each matrix, however often it stands there.
    """
    unprinted = "printed as no number" if index.printed is None else None
    if index.entropies is None:
        value = _from_correlations(index.correlations)
        yield row(
            index.place,
            "index",
            "specialization index",
            printed=index.printed,
            value=value,
            method="from the printed correlations of heads" if value is not None else "",
            remark=joined(MATRIX_MISSING, unprinted),
        )
        return
    layers, heads = index.entropies.shape
    entropies = _complete(index.entropies)
    missing = heads - entropies.shape[1]
    value = finite_or_none(float(summary(entropies)))
    earlier = seen.earlier(index.place, index.entropies)
    yield row(
        index.place, "index", "specialization index", printed=index.printed, value=value, n=layers,
        method=f"1 − mean correlation of heads over layers, {layers} layers × {heads} heads",
        remark=joined(
            f"{missing} of {heads} heads left out: cells are missing or not finite" if missing else None,
            None if value is not None else ESTIMATOR.undefined, unprinted, earlier,
        ),
    )  # fmt: skip
    if value is None or earlier is not None:
        return
    orders = shuffled(ESTIMATOR, entropies, ORDERS, _generator(index, "orders"))
    orders = orders[np.isfinite(orders)]
    if len(orders):
        yield row(
            index.place, "head order", "index with heads in random orders within layers", value=float(orders.mean()),
            low=float(orders.min()), high=float(orders.max()), n=len(orders),
            method=f"mean, least and most of {ORDERS} orders" + _undefined(ORDERS - len(orders)),
            remark=f"mean change {orders.mean() - value:+.4f}, deviation {orders.std():.4f}",
        )  # fmt: skip
    yield from _left_out(index, entropies)
    low, high, why = _interval(summary(entropies[_layers(index, layers)]))
    yield row(
        index.place, "bootstrap over layers", "specialization index", value=value, low=low, high=high, n=layers,
        method=f"percentile bootstrap over layers, {RESAMPLES} resamples", remark=joined(why, OVER_LAYERS),
    )  # fmt: skip


def matrix_rows(indices: Sequence[Index]) -> Iterator[Row]:
    """One row for each distinct matrix of entropies: how many printed indices it is behind, and where its copies are.

    A place without a matrix of its own, but with those of its seeds, has their mean.
    """
    by_matrix: dict[bytes, list[Index]] = {}
    for index in indices:
        if index.entropies is not None:
            by_matrix.setdefault(_key(index.entropies), []).append(index)
    for first, *copies in by_matrix.values():
        layers, heads = first.entropies.shape if first.entropies is not None else (0, 0)
        copied = ", ".join(
            str(copy.place) if copy.place.file == first.place.file else f"{copy.place.file}: {copy.place}"
            for copy in copies
        )
        yield row(
            first.place, "matrix", f"matrix of {layers} layers × {heads} heads", n=layers, times=1 + len(copies),
            agreement="not printed", method="equal to 12 decimals",
            remark=f"copies: {copied}" if copied else "no copies",
        )  # fmt: skip


def _complete(entropies: FloatArray) -> FloatArray:
    """The heads that have an entropy in every layer; others have no correlation, and the published mean leaves them."""
    complete = np.isfinite(entropies).all(axis=0)
    return entropies if complete.all() else entropies[:, complete]


def _undefined(times: int) -> str:
    return f"; undefined in {times}" if times else ""


def _interval(drawn: FloatArray) -> tuple[float | None, float | None, str | None]:
    """Percentile interval, and why there is none: where more resamples than its level are undefined."""
    defined = drawn[np.isfinite(drawn)]
    missing = len(drawn) - len(defined)
    why = f"the index is undefined in {missing} of {len(drawn)} resamples" if missing else None
    if missing > LEVEL * len(drawn):
        return None, None, f"no interval: {why}"
    low, high = np.quantile(defined, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high), why


def _left_out(index: Index, entropies: FloatArray) -> Iterator[Row]:
    """The index without each layer, and without each third of the depth."""
    layers = len(entropies)
    single = np.array([float(summary(np.delete(entropies, layer, axis=0))) for layer in range(layers)])
    quantity = "index without any one layer"
    if np.isfinite(single).all():
        full = float(summary(entropies))
        strongest = int(np.argmax(np.abs(single - full)))
        yield row(
            index.place, "left-out layers", quantity, value=float(single[strongest]),
            low=float(single.min()), high=float(single.max()), n=layers, method="least and most over all layers",
            remark=f"layer {strongest} matters most: {single[strongest] - full:+.4f}",
        )  # fmt: skip
    else:
        remark = f"undefined without some of the {layers} layers: too few layers, or heads that vary, are left"
        yield row(index.place, "left-out layers", quantity, n=layers, remark=remark)
    for region, part in thirds(layers).items():
        rest = np.delete(entropies, part, axis=0)
        without = finite_or_none(float(summary(rest)))
        yield row(
            index.place, "left-out layers", f"index without the {region} third", value=without, n=len(rest),
            method="the other layers", remark=None if without is not None else "too few layers are left",
        )  # fmt: skip


def pair_rows(pair: Pair, seen: Seen) -> Iterator[Row]:
    """Absolute and relative change in rows of their own, and the absolute one over resampled layers."""
    base, aligned = (_value(index) for index in (pair.base, pair.aligned))
    place = pair.aligned.place
    missing = None if base is not None and aligned is not None else "an index is missing"
    printed_only = None
    if missing is None and any(index.entropies is None for index in (pair.base, pair.aligned)):
        printed_only = "from printed indices: the file holds no matrix of entropies for both"
    absolute = None if base is None or aligned is None else aligned - base
    matrices = pair.base.entropies, pair.aligned.entropies
    keys = [_key(each) for each in matrices if each is not None]
    one = "base and aligned have one and the same matrix" if len(keys) == 2 and keys[0] == keys[1] else None
    earlier = seen.earlier(place, *matrices)
    yield row(
        place, "absolute change", "index, aligned minus base", printed=pair.absolute, value=absolute,
        method="difference", remark=joined(missing, printed_only, one, earlier),
    )  # fmt: skip
    of_nothing = "the index of the base is 0" if base is not None and abs(base) <= OF_ONE else None
    relative = None if absolute is None or base is None or of_nothing else 100 * absolute / base
    mixed = None
    if pair.relative_percent is not None and absolute is not None and relative is not None:
        as_absolute = abs(pair.relative_percent - 100 * absolute) < 0.01 * abs(100 * absolute)
        mixed = RELATIVE_IS_ABSOLUTE if as_absolute and abs(relative - 100 * absolute) > 0.01 * abs(relative) else None
    yield row(
        place, "relative change", "index, aligned minus base, in % of base", printed=pair.relative_percent,
        value=relative, method="difference / base",
        remark=joined(missing, of_nothing, printed_only, mixed, one, earlier),
    )  # fmt: skip
    complete = [_complete(each) for each in matrices if each is not None]
    if absolute is None or earlier or len(complete) < 2 or len(complete[0]) != len(complete[1]):
        return
    chosen = _layers(pair.aligned, len(complete[0]))
    low, high, why = _interval(summary(complete[1][chosen]) - summary(complete[0][chosen]))
    yield row(
        place, "bootstrap over layers", "index, aligned minus base", value=absolute, low=low, high=high,
        n=len(complete[0]), method=f"percentile bootstrap over layers, the same in both, {RESAMPLES} resamples",
        remark=joined(why, OVER_LAYERS),
    )  # fmt: skip


def _value(index: Index) -> float | None:
    """The index from its matrix, else as printed."""
    computed = None if index.entropies is None else finite_or_none(float(summary(_complete(index.entropies))))
    return index.printed if computed is None else computed


def _from_correlations(correlations: FloatArray | None) -> float | None:
    if correlations is None or correlations.shape[0] != correlations.shape[1] or len(correlations) < 2:
        return None
    pairs = correlations[np.triu_indices(len(correlations), 1)]
    pairs = pairs[np.isfinite(pairs)]  # a head that is constant has none
    return float(1 - pairs.mean()) if len(pairs) else None


def _layers(index: Index, layers: int) -> np.ndarray:
    """Layers of each resample: (RESAMPLES, layers)."""
    return _generator(index, "layers").integers(0, layers, size=(RESAMPLES, layers))


def _generator(index: Index, purpose: str) -> np.random.Generator:
    return generator_for("reanalysis", purpose, index.place.file, str(index.place))
