"""Similarity of the residual streams of refits: centred kernel alignment (Kornblith et al. 2019) of all pairs at once.

Published (Bali et al. 2026): Gaussian kernel whose squared bandwidth is the median of all N² squared distances, biased
estimate. Beside it the debiased estimates (unbiased HSIC, Song et al. 2012) with the same kernel and with a linear one.

Kernel matrices are N×N and never held: all three need only inner products of two matrices and their row sums, which are
gathered from blocks of rows, each kernel once for all pairs and once for both halves. Linear kernels need only features
times features.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from headwise.analyses.stability.names import Measure
from headwise.statistics.arrays import FloatArray

RBF_BIASED, RBF_DEBIASED, LINEAR_DEBIASED = Measure.RBF_BIASED, Measure.RBF_DEBIASED, Measure.LINEAR_DEBIASED
FEWEST_EXAMPLES = 4  # unbiased HSIC divides by n (n − 3)
SAMPLED_EXAMPLES = 64  # for a guess at where the median distance lies
# Kernel values per block and refit, 4 MB: fewer make thin matrix products, which are slow.
BLOCK_VALUES = 2**19


def cka(streams: Sequence[FloatArray]) -> dict[Measure, FloatArray]:
    """CKA between all pairs of R representations of the same N examples, each (N, features).

    Returns RBF_BIASED, RBF_DEBIASED and LINEAR_DEBIASED, each (R, R); NaN where a representation does not vary, or
    more than half of its distances are zero, and for debiased estimates of fewer than four examples.
    """
    centred = [_centred(stream) for stream in streams]
    return {**rbf_cka(centred), LINEAR_DEBIASED: linear_cka(centred)}


def linear_cka(streams: Sequence[FloatArray]) -> FloatArray:
    """Debiased CKA with a linear kernel in feature space: (R, R) from R representations, each (N, features)."""
    centred = [_centred(stream) for stream in streams]
    squares = np.stack([_squared_lengths(stream) for stream in centred])
    products = np.array([[np.square(one.T @ two).sum() for two in centred] for one in centred])
    # Rows of a centred kernel sum to zero, and without the diagonal to minus its entry.
    return _normalised(_unbiased_hsic(products - squares @ squares.T, -squares))


def rbf_cka(streams: Sequence[FloatArray]) -> dict[Measure, FloatArray]:
    """CKA with a Gaussian kernel, biased and debiased, each (R, R), from R representations, each (N, features)."""
    count, examples = len(streams), len(streams[0])
    scales = [median_squared_distance(stream) for stream in streams]
    lengths = [_squared_lengths(stream) for stream in streams]
    products, sums = np.zeros((count, count)), np.zeros((count, examples))
    for start, stop in _blocks(examples):
        kernels = np.empty((count, stop - start, examples - start))
        for kernel, stream, squares, scale in zip(kernels, streams, lengths, scales, strict=True):
            _squared_distances(stream, squares, start, stop, out=kernel)
            kernel /= -2 * scale if scale > 0 else np.nan
            np.exp(kernel, out=kernel)
        width = stop - start
        # Right of the block on the diagonal every entry stands for two.
        square, right = kernels[:, :, :width], kernels[:, :, width:]
        products += _inner(square) + 2 * _inner(right)
        sums[:, start:stop] += kernels.sum(axis=2)
        sums[:, stop:] += right.sum(axis=1)
    totals = sums.sum(axis=1)
    biased = products - 2 / examples * (sums @ sums.T) + np.outer(totals, totals) / examples**2
    debiased = _unbiased_hsic(products - examples, sums - 1)
    return {RBF_BIASED: _normalised(biased), RBF_DEBIASED: _normalised(debiased)}


def median_squared_distance(stream: FloatArray) -> float:
    """Median of all N² squared distances between examples, those of an example to itself included.

    Exact, in one pass that neither holds nor sorts them: distances from a few examples say between which values the
    median lies, and only those between are collected. Where the few mislead, a wider range is tried.
    """
    examples = len(stream)
    # The N zeros of the diagonal come first, then every other distance twice.
    middles = ((examples**2 - 1) // 2, examples**2 // 2)
    ranks = [(middle - examples) // 2 for middle in middles if middle >= examples]
    if not ranks:
        return 0.0
    few = stream[np.unique(np.linspace(0, examples - 1, SAMPLED_EXAMPLES).astype(np.intp))]
    distances = _squared_lengths(few)[:, None] - 2 * few @ stream.T + _squared_lengths(stream)
    for half_width in (0.05, 0.2):
        low, high = np.quantile(distances, [0.5 - half_width, 0.5 + half_width])
        found = _at_ranks(stream, ranks, float(low), float(high))
        if found is not None:
            return sum(found) / len(middles)
    found = _at_ranks(stream, ranks, -np.inf, np.inf)
    assert found is not None, "every distance was collected"
    return sum(found) / len(middles)


def _at_ranks(stream: FloatArray, ranks: Sequence[int], low: float, high: float) -> list[float] | None:
    """Of the sorted distances of all pairs those at these ranks; None where one lies outside of low to high."""
    below, collected = 0, []
    for distances in _upper_distances(stream):
        small = distances < low
        below += int(np.count_nonzero(small))
        collected.append(distances[~small & (distances <= high)])
    within = np.concatenate(collected)
    if ranks[0] < below or ranks[-1] >= below + len(within):
        return None
    places = [rank - below for rank in ranks]
    return [float(value) for value in np.partition(within, places)[places]]


def _blocks(examples: int) -> Iterator[tuple[int, int]]:
    rows = max(1, BLOCK_VALUES // examples)
    for start in range(0, examples, rows):
        yield start, min(start + rows, examples)


def _squared_lengths(stream: FloatArray) -> FloatArray:
    return np.einsum("nd,nd->n", stream, stream)


def _squared_distances(stream: FloatArray, squares: FloatArray, start: int, stop: int, out: FloatArray) -> None:
    """Squared distances of the examples from `start` to `stop` to all from `start` on, never negative."""
    np.matmul(-2 * stream[start:stop], stream[start:].T, out=out)
    out += squares[start:stop, None]
    out += squares[start:]
    np.maximum(out, 0, out=out)
    diagonal = np.arange(stop - start)
    out[diagonal, diagonal] = 0


def _upper_distances(stream: FloatArray) -> Iterator[FloatArray]:
    """The squared distances of all pairs of examples, each once, in parts."""
    examples, squares = len(stream), _squared_lengths(stream)
    for start, stop in _blocks(examples):
        block = np.empty((stop - start, examples - start))
        _squared_distances(stream, squares, start, stop, out=block)
        width = stop - start
        yield block[:, width:].ravel()
        yield block[:, :width][np.triu_indices(width, 1)]


def _inner(kernels: FloatArray) -> FloatArray:
    flat = kernels.reshape(len(kernels), -1)
    return flat @ flat.T


def _centred(stream: FloatArray) -> FloatArray:
    stream = np.asarray(stream, dtype=np.float64)
    return stream - stream.mean(axis=0)


def _unbiased_hsic(products: FloatArray, sums: FloatArray) -> FloatArray:
    """n (n − 3) times the unbiased HSIC of all pairs, from kernels without diagonals (Song et al. 2012, eq. 5).

    products: (R, R) inner products. sums: (R, N) row sums.
    """
    n = sums.shape[1]
    if n < FEWEST_EXAMPLES:
        return np.full_like(products, np.nan)
    totals = sums.sum(axis=1)
    return products + np.outer(totals, totals) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (sums @ sums.T)


def _normalised(hsic: FloatArray) -> FloatArray:
    """HSIC of all pairs over the geometric mean of both with themselves; NaN where one of these is not positive."""
    own = np.diagonal(hsic)
    length = np.sqrt(np.where(own > 0, own, np.nan))
    values = hsic / np.outer(length, length)
    np.fill_diagonal(values, np.where(np.isnan(length), np.nan, 1.0))
    return values
