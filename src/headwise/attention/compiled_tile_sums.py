"""Sums over a tile of attention in compiled code: all sums of a row are taken while it is in the cache.

`tile_sums` has the same in plain tensors, for every device and dtype, and says what is added up. Numba compiles at the
first use, in some five seconds, and keeps the result in `__pycache__` here or, where that is not writable, in the
user's cache.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray
from torch import Tensor

from headwise.attention.divergence import SMALLEST_MASS
from headwise.attention.sinks import SINKS
from headwise.attention.tile_sums import TileSums

# Terms are summed in another order, and products are added without rounding first; what is not a number stays so.
FAST = {"reassoc", "nsz", "arcp", "contract"}
# So many entries of a head are summed in float32, before their sum is added in float64.
ENTRIES_PER_SUM = 1024
# Heads are multiplied with one another in blocks of so many: what one loop below holds in registers.
BLOCK = 4
# Rows are worked on up to a multiple of so many keys: what is left beyond vectors is worked on key by key.
MULTIPLE = 32

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
MANTISSA_BITS, MANTISSA, BIAS = 23, 0x7FFFFF, 127
PER_MANTISSA = np.float32(2.0**-MANTISSA_BITS)
LN_2, ROOT_2 = np.float32(np.log(2)), np.float32(np.sqrt(2))
# ln(1 + x) / x for 1 + x from 1 / sqrt(2) to sqrt(2), as a polynomial that is exact to float32.
C0, C1, C2, C3, C4, C5, C6, C7, C8, C9 = (
    Chebyshev.interpolate(lambda x: np.log1p(x) / x, 9, [np.sqrt(0.5) - 1, np.sqrt(2) - 1])
    .convert(kind=Polynomial)
    .coef.astype(np.float32)
)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        compiled: Callable[..., Any] = numba.njit(function, fastmath=FAST, nogil=True, cache=True)
    except RuntimeError:  # nowhere to keep it
        compiled = numba.njit(function, fastmath=FAST, nogil=True)
    return compiled


@numba.njit(fastmath=FAST, inline="always")
def _log(value):  # type: ignore[no-untyped-def]  # of numbers that only compiled code has
    """Natural logarithm of a positive float32; finite for zero."""
    bits = np.float32(value).view(np.int32)
    # int32 again after each step, since Numba widens integers, which halves what one instruction does.
    exponent = np.float32(np.int32((bits >> MANTISSA_BITS) - BIAS))
    mantissa = ONE + np.float32(np.int32(bits & MANTISSA)) * PER_MANTISSA
    large = mantissa > ROOT_2
    mantissa = mantissa * HALF if large else mantissa
    exponent = exponent + ONE if large else exponent
    x = mantissa - ONE
    high = C5 + x * (C6 + x * (C7 + x * (C8 + x * C9)))
    return exponent * LN_2 + x * (C0 + x * (C1 + x * (C2 + x * (C3 + x * (C4 + x * high)))))


@_compiled
def _add_products(rows: NDArray[np.float32], keys: int, total: NDArray[np.float64]) -> None:
    """Add to `total` (heads, heads) the inner products of rows (heads, keys), in blocks from the diagonal on; the
    number of heads is a multiple of `BLOCK`."""
    for i in range(0, len(rows), BLOCK):
        for j in range(i, len(rows), BLOCK):
            a0, a1, a2, a3 = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
            b0, b1, b2, b3 = rows[j], rows[j + 1], rows[j + 2], rows[j + 3]
            for start in range(0, keys, ENTRIES_PER_SUM):
                s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = ZERO
                s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = ZERO
                # Unsigned, since an index that may count from the end keeps a loop from being vectorised.
                for k in range(np.uint64(start), np.uint64(min(start + ENTRIES_PER_SUM, keys))):
                    x0, x1, x2, x3 = a0[k], a1[k], a2[k], a3[k]
                    y0, y1, y2, y3 = b0[k], b1[k], b2[k], b3[k]
                    s00 += x0 * y0
                    s01 += x0 * y1
                    s02 += x0 * y2
                    s03 += x0 * y3
                    s10 += x1 * y0
                    s11 += x1 * y1
                    s12 += x1 * y2
                    s13 += x1 * y3
                    s20 += x2 * y0
                    s21 += x2 * y1
                    s22 += x2 * y2
                    s23 += x2 * y3
                    s30 += x3 * y0
                    s31 += x3 * y1
                    s32 += x3 * y2
                    s33 += x3 * y3
                block = ((s00, s01, s02, s03), (s10, s11, s12, s13), (s20, s21, s22, s23), (s30, s31, s32, s33))
                for p in range(BLOCK):
                    for q in range(BLOCK):
                        total[i + p, j + q] += block[p][q]


@_compiled
def _add_pairs(
    rows: NDArray[np.float32],
    keys: int,
    first: NDArray[np.float64],
    scale: NDArray[np.float64],
    products: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add to `sums` (sinks, heads, heads) the inner products of rows (heads, keys) whose key 0 is `first` (heads,), and
    zero in `rows`; without key 0, of rows times `scale` (heads,). What is in `products` is overwritten."""
    products[:] = 0
    _add_products(rows, keys, products)
    for i in range(len(scale)):
        for j in range(len(scale)):
            product = products[min(i, j), max(i, j)]
            sums[0, i, j] += product + first[i] * first[j]
            sums[1, i, j] += product * scale[i] * scale[j]


@_compiled
def _add_divergences(
    rows: NDArray[np.float32],
    keys: int,
    first: NDArray[np.float64],
    scale: NDArray[np.float64],
    shares: NDArray[np.float32],
    logarithms: NDArray[np.float32],
    sums: NDArray[np.float64],
) -> None:
    """Add to `sums` (sinks, pairs) twice the Jensen-Shannon divergence in nats of rows a and b that both heads include,
    sum a ln(a / m) + b ln(b / m) with m = (a + b) / 2. rows, first and scale are those of `_add_pairs`; what is in
    `shares` and `logarithms` (heads, keys) is overwritten.
    """
    heads = len(scale)
    for sink in range(len(sums)):
        for head in range(heads):
            factor = np.float32(scale[head]) if sink else ONE
            for k in range(np.uint64(keys)):
                shares[head, k] = factor * rows[head, k]
            if not sink:
                shares[head, 0] = first[head]
            for k in range(np.uint64(keys)):
                logarithms[head, k] = _log(shares[head, k])
        pair = -1
        for i in range(heads):
            for j in range(i + 1, heads):
                pair += 1
                if sink and scale[i] * scale[j] == 0:
                    continue
                a, b, log_a, log_b = shares[i], shares[j], logarithms[i], logarithms[j]
                for start in range(0, keys, ENTRIES_PER_SUM):
                    some = ZERO
                    for k in range(np.uint64(start), np.uint64(min(start + ENTRIES_PER_SUM, keys))):
                        x, y = a[k], b[k]
                        log_m = _log((x + y) * HALF)
                        some += x * (log_a[k] - log_m) + y * (log_b[k] - log_m)
                    sums[sink, pair] += some


@_compiled
def _sum_tile(
    tile: NDArray[np.float32],
    position: int,
    overlaps: bool,
    products: bool,
    fields: NDArray[np.float32],
    received: NDArray[np.float64],
    sums: NDArray[np.float64],
    divergences: NDArray[np.float64],
) -> None:
    """Sums over a tile (heads, rows, keys) whose first row is at `position`: fields (6, heads, rows), received (heads,
    sinks, T), sums (overlaps, products and squares left out; sinks, heads, heads), divergences (sinks, pairs) unless
    it is empty."""
    heads, rows, keys = tile.shape
    # Heads are not a multiple of a large power of two apart, which would put them into the same lines of the cache.
    width = MULTIPLE * ((max(keys, position + rows) // MULTIPLE + 1) | 1)
    # A row of each head without key 0, and zero beyond its last key. Heads are added up to a whole block of zeros.
    weights = np.zeros((-(-heads // BLOCK) * BLOCK, width), np.float32)
    roots = np.zeros_like(weights)
    shares, logarithms = np.empty_like(weights), np.empty_like(weights)
    of_tile = np.zeros((len(SINKS), heads, width), np.float32)
    first, scale, root_of_first, root_of_scale = np.zeros(heads), np.zeros(heads), np.zeros(heads), np.zeros(heads)
    of_row = np.zeros((len(weights), len(weights)))
    # Of keys from that of the last row.
    away = np.arange(position + rows - 1, position - 1 - width, -1).astype(np.float32)
    for row in range(rows):
        own = position + row
        visible = min(own + 1, keys)
        end = -(-visible // MULTIPLE) * MULTIPLE
        ahead = np.uint64(rows - 1 - row)
        left_out = 0
        for head in range(heads):
            at_first = tile[head, row, 0]
            others = entropy = np.float64(0)
            distance = np.float64(own) * at_first
            for start in range(0, visible, ENTRIES_PER_SUM):
                some = ZERO
                for k in range(np.uint64(max(start, 1)), np.uint64(min(start + ENTRIES_PER_SUM, visible))):
                    weight = tile[head, row, k]
                    weights[head, k] = weight
                    some += weight
                others += some
            others = np.float64(np.float32(others))  # as `fields` has it, by which rows are included later
            scaling = np.float32(1 / others) if others >= SMALLEST_MASS else ZERO
            for start in range(0, end, ENTRIES_PER_SUM):
                some_terms = some_distance = ZERO
                for k in range(np.uint64(start), np.uint64(min(start + ENTRIES_PER_SUM, end))):
                    weight = weights[head, k]
                    some_terms += weight * _log(weight)
                    some_distance += weight * away[ahead + k]
                    of_tile[0, head, k] += weight
                    of_tile[1, head, k] += scaling * weight
                entropy -= some_terms
                distance += some_distance
            of_tile[0, head, 0] += at_first
            fields[0, head, row] = at_first
            fields[1, head, row] = others
            fields[2, head, row] = entropy
            fields[3, head, row] = at_first if own == 1 else (weights[head, own - 1] if own else ZERO)
            fields[4, head, row] = at_first if own == 0 else weights[head, own]
            fields[5, head, row] = distance
            first[head], scale[head] = at_first, scaling
            root_of_first[head], root_of_scale[head] = math.sqrt(at_first), math.sqrt(scaling)
            left_out += scaling == 0
        if overlaps and own > 0:
            for head in range(heads):
                for k in range(np.uint64(end)):
                    roots[head, k] = math.sqrt(weights[head, k])
            _add_pairs(roots, end, root_of_first, root_of_scale, of_row, sums[0])
        if products:
            _add_pairs(weights, end, first, scale, of_row, sums[1])
            if 0 < left_out < heads:
                for i in range(heads):
                    for j in range(heads):
                        if scale[j] == 0:
                            sums[2, 1, i, j] += of_row[i, i] * scale[i] * scale[i]
        if divergences.size and own > 0:
            _add_divergences(weights, end, first, scale, shares, logarithms, divergences)
    for head in range(heads):
        for sink in range(len(of_tile)):
            for k in range(np.uint64(keys)):
                received[head, sink, k] += of_tile[sink, head, k]


def sum_tile_compiled(tile: Tensor, first: int, names: Sequence[str], received: Tensor) -> TileSums:
    """`tile_sums.sum_tile_plainly` of a tile in float32 on the CPU in which no query attends to a later key."""
    heads, rows, _ = tile.shape
    fields = np.empty((6, heads, rows), np.float32)
    sums = np.zeros((3, len(SINKS), heads, heads))
    overlaps, products = "hellinger" in names, "pattern_correlation" in names
    divergences = np.zeros((len(SINKS), heads * (heads - 1) // 2 if "js_divergence" in names else 0))
    _sum_tile(tile.contiguous().numpy(), first, overlaps, products, fields, received.numpy(), sums, divergences)
    wanted = {"overlaps": overlaps, "products": products, "squares_left_out": products}
    by_pair = {
        name: torch.from_numpy(values) for (name, want), values in zip(wanted.items(), sums, strict=True) if want
    }
    if "js_divergence" in names:
        by_pair["divergences"] = torch.from_numpy(divergences / math.log(2))
    return TileSums(torch.from_numpy(fields), by_pair)
