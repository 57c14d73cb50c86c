"""Sums over a tile of attention in compiled code: all sums of a row are taken while it is in the cache.

`counting` has the same in plain tensors, for every device and dtype, and says what is counted. Numba compiles at the
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

from headwise.attention.counting import TileSums
from headwise.attention.divergence import SMALLEST_MASS
from headwise.attention.sinks import SINKS

# Terms are summed in another order, and products are added without rounding first; what is not a number stays so.
FAST = {"reassoc", "nsz", "arcp", "contract"}
# So many entries of a head are summed in float32, before their sum is added in float64.
ENTRIES_PER_SUM = 1024
# Heads are multiplied with one another in blocks of so many: what one loop below holds in registers.
BLOCK = 4

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
TINY = np.finfo(np.float32).tiny
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
def _log(bits):  # type: ignore[no-untyped-def]  # of numbers that only compiled code has
    """Natural logarithm of the positive float32 with these bits; finite for zero."""
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
    """Add to `total` (heads, heads) the inner products of rows (heads, keys) over keys 1, 2, ..., in blocks from the
    diagonal on. The number of heads is a multiple of `BLOCK`."""
    for i in range(0, len(rows), BLOCK):
        for j in range(i, len(rows), BLOCK):
            a0, a1, a2, a3 = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
            b0, b1, b2, b3 = rows[j], rows[j + 1], rows[j + 2], rows[j + 3]
            for start in range(1, keys, ENTRIES_PER_SUM):
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
def _count_row(
    weights: NDArray[np.float32],
    position: int,
    away: NDArray[np.float32],
    kept: NDArray[np.float32],
    dropped: NDArray[np.float32],
    fields: NDArray[np.float32],
) -> np.float32:
    """Count in one row of a head, attention of the query at `position` to keys 0, 1, ...: what each key receives, to
    `kept` and `dropped` (keys,), and the fields of `rows.Rows`, to `fields` (6,). The scale without key 0 is returned.
    """
    keys, bits = len(weights), weights.view(np.int32)
    others = entropy = distance = np.float64(0)
    for start in range(1, keys, ENTRIES_PER_SUM):
        some = ZERO
        for k in range(np.uint64(start), np.uint64(min(start + ENTRIES_PER_SUM, keys))):
            some += weights[k]
        others += some
    others = np.float64(np.float32(others))  # as `fields` has it, by which rows are counted later
    scale = np.float32(1 / others) if others >= SMALLEST_MASS else ZERO
    for start in range(0, keys, ENTRIES_PER_SUM):
        some_terms = some_distance = ZERO
        for k in range(np.uint64(start), np.uint64(min(start + ENTRIES_PER_SUM, keys))):
            weight = weights[k]
            some_terms += weight * _log(bits[k])
            some_distance += weight * away[k]
            kept[k] += weight
            dropped[k] += scale * weight
        entropy -= some_terms
        distance += some_distance
    fields[0] = weights[0]
    fields[1] = others
    fields[2] = entropy + weights[0] * _log(bits[0])
    fields[3] = weights[position - 1] if 0 < position <= keys else ZERO
    fields[4] = weights[position] if position < keys else ZERO
    fields[5] = distance
    return scale


@_compiled
def _add_pairs(
    rows: NDArray[np.float32],
    keys: int,
    scale: NDArray[np.float64],
    products: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add to `sums` (sinks, heads, heads), from the diagonal on, the inner products of rows (heads, keys); without key
    0, of rows times `scale` (heads,). What is left in `products` is without key 0, not scaled."""
    products[:] = 0
    _add_products(rows, keys, products)
    for i in range(len(scale)):
        for j in range(i, len(scale)):
            sums[0, i, j] += products[i, j] + np.float64(rows[i, 0]) * rows[j, 0]
            sums[1, i, j] += products[i, j] * scale[i] * scale[j]


@_compiled
def _count_tile(
    tile: NDArray[np.float32],
    first: int,
    overlaps: bool,
    products: bool,
    fields: NDArray[np.float32],
    received: NDArray[np.float32],
    sums: NDArray[np.float64],
) -> None:
    """Count in a tile (heads, rows, keys): fields (6, heads, rows), received (heads, sinks, keys), sums (overlaps,
    products and squares left out; sinks, heads, heads), of which only those from the diagonal on of the first two."""
    heads, rows, keys = tile.shape
    # Not a multiple of a power of two apart, which would put all heads into the same lines of the cache.
    width = 16 * ((keys // 16 + 1) | 1)
    weights = np.zeros((-(-heads // BLOCK) * BLOCK, width), np.float32)
    roots = np.zeros_like(weights)
    scale, scale_of_roots = np.zeros(heads), np.zeros(heads)
    away = np.arange(keys - 1, -1, -1).astype(np.float32)  # from the last key
    of_row = np.zeros((len(weights), len(weights)))
    for row in range(rows):
        position = first + row
        visible = min(position + 1, keys)
        left_out = 0
        for head in range(heads):
            mine, source = weights[head], tile[head, row]
            for k in range(np.uint64(visible)):
                mine[k] = source[k]
            scale[head] = _count_row(
                mine[:visible],
                position,
                away[keys - 1 - position :],
                received[head, 0],
                received[head, 1],
                fields[:, head, row],
            )
            scale_of_roots[head] = math.sqrt(scale[head])
            left_out += scale[head] == 0
        if overlaps and position > 0:
            for head in range(heads):
                mine, to = weights[head], roots[head]
                for k in range(np.uint64(visible)):
                    # Square roots of zero take six times as long.
                    to[k] = math.sqrt(max(mine[k], TINY))
            _add_pairs(roots, visible, scale_of_roots, of_row, sums[0])
        if products:
            _add_pairs(weights, visible, scale, of_row, sums[1])
            if 0 < left_out < heads:
                for i in range(heads):
                    for j in range(heads):
                        if scale[j] == 0:
                            sums[2, 1, i, j] += of_row[i, i] * scale[i] * scale[i]


def count_compiled(tile: Tensor, first: int, names: Sequence[str]) -> TileSums:
    """`counting.count_plainly` of a tile in float32 on the CPU in which no query attends to a later key."""
    heads, rows, keys = tile.shape
    fields = np.empty((6, heads, rows), np.float32)
    received = np.zeros((heads, len(SINKS), keys), np.float32)
    sums = np.zeros((3, len(SINKS), heads, heads))
    overlaps, products = "hellinger" in names, "pattern_correlation" in names
    _count_tile(tile.contiguous().numpy(), first, overlaps, products, fields, received, sums)
    sums[:2] += np.triu(sums[:2], 1).swapaxes(-1, -2)
    wanted = {"overlaps": overlaps, "products": products, "squares_left_out": products}
    by_pair = {
        name: torch.from_numpy(values) for (name, want), values in zip(wanted.items(), sums, strict=True) if want
    }
    return TileSums(torch.from_numpy(fields), torch.from_numpy(received), by_pair)
