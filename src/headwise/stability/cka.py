"""Similarity of the residual streams of refits: centred kernel alignment (Kornblith et al. 2019) of all pairs at once.

Published (Bali et al. 2026): Gaussian kernel whose squared bandwidth is the median of all N² squared distances, biased
estimate. Beside it the debiased estimates (unbiased HSIC, Song et al. 2012) with the same kernel and with a linear one.

Kernel matrices are N×N and never held: all three need only inner products of two matrices and their row sums, which are
gathered from blocks of rows, each kernel once for all pairs and once for both halves. Linear kernels need only features
times features.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from headwise.statistics.permutation import FloatArray

RBF_BIASED, RBF_DEBIASED, LINEAR_DEBIASED = "rbf_biased", "rbf_debiased", "linear_debiased"
FEWEST_EXAMPLES = 4  # unbiased HSIC divides by n (n − 3)
BINS = 2**16
# Kernel values per block and refit: 1 MB, so that they stay in the processor's cache from step to step.
BLOCK_VALUES = 2**17


def cka(streams: Sequence[FloatArray]) -> dict[str, FloatArray]:
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


def rbf_cka(streams: Sequence[FloatArray]) -> dict[str, FloatArray]:
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

    Found without holding or sorting them: a histogram over blocks of examples tells the bin of the median, and a second
    pass collects what is in it.
    """
    examples = len(stream)
    # The N zeros of the diagonal come first, then every other distance twice.
    middles = ((examples**2 - 1) // 2, examples**2 // 2)
    ranks = [(middle - examples) // 2 for middle in middles if middle >= examples]
    if not ranks:
        return 0.0
    largest = 4 * float(_squared_lengths(stream).max())
    if largest == 0:
        return 0.0
    counts = np.zeros(BINS + 1, dtype=np.int64)
    for distances in _upper_distances(stream):
        counts += np.bincount((distances * (BINS / largest)).astype(np.int32), minlength=BINS + 1)
    ends = np.cumsum(counts)
    first, last = (int(np.searchsorted(ends, rank, side="right")) for rank in (ranks[0], ranks[-1]))
    found = []
    for distances in _upper_distances(stream):
        places = (distances * (BINS / largest)).astype(np.int32)
        found.append(distances[(places >= first) & (places <= last)])
    candidates = np.sort(np.concatenate(found))
    below = int(ends[first - 1]) if first else 0
    return float(sum(candidates[rank - below] for rank in ranks) / len(middles))


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
