"""Sums over one tile of attention: a few query rows of all heads of a layer, with key 0 and without.

In plain tensors, on every device and in every dtype; `compiled_tile_sums` has the same for float32 on the CPU, for
which this is the reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwise.attention.divergence import SMALLEST_MASS, divergences
from headwise.attention.scratch import Scratch, distances
from headwise.attention.sinks import SINKS

# About as many entries of each head are multiplied at once: fewer are slow, and more would add up rounding.
ENTRIES_PER_PRODUCT = 1024


@dataclass(frozen=True)
class TileSums:
    """Sums over a tile of attention (heads, rows, keys).

    rows: (6, heads, rows), the fields of `rows.Rows` in their order. by_pair: overlaps, products and squares_left_out
    (sinks, heads, heads) and divergences (sinks, pairs), as far as they are wanted: see `rows.Sums`; float64.
    """

    rows: Tensor
    by_pair: dict[str, Tensor]


def looks_ahead(tile: Tensor, first: int) -> bool:
    """Whether any query of the tile, whose rows are from position `first` on, attends to a later key."""
    return tile.shape[-1] > first + 1 and bool(tile[..., first:].triu(1).max() > 0)


def sum_tile_plainly(
    tile: Tensor, first: int, names: Sequence[str], ahead: bool, received: Tensor, scratch: Scratch
) -> TileSums:
    """Sums over a tile of a prompt of T tokens, float32 or float64, rows from position `first` on.

    names: statistics of pairs of heads that are wanted. ahead: whether any query may attend to a later key. What keys
    receive is added to `received` (heads, sinks, T), float64, in which key 0 without key 0 means nothing.
    """
    others = tile[..., 1:].sum(-1)
    included = others >= SMALLEST_MASS
    scale = included / others.clamp(min=SMALLEST_MASS)
    received[..., : tile.shape[-1]] += torch.stack([torch.ones_like(scale), scale], 1) @ tile
    working = scratch.tensor("working", tile.shape, tile)
    by_pair = {}
    if "hellinger" in names:
        # Most entries are zero, of which square roots take six times as long.
        roots = torch.clamp(tile, min=torch.finfo(tile.dtype).tiny, out=working).sqrt_()
        if first == 0:
            roots[:, 0] = 0
        by_pair["overlaps"] = _products(roots, scale.sqrt(), working)
    if "pattern_correlation" in names:
        by_pair["products"] = _products(tile, scale, working)
        by_pair["squares_left_out"] = _squares_left_out(tile, scale, included)
    if "js_divergence" in names:
        by_pair["divergences"] = torch.stack([divergences(tile.double(), first, sink) for sink in SINKS])
    distance = _distances(tile, first, ahead, scratch)
    terms = torch.clamp(tile, min=torch.finfo(tile.dtype).tiny, out=working).log_().mul_(tile)
    own, before = tile.diagonal(first, 1, 2), tile.diagonal(first - 1, 1, 2)
    if first == 0:
        before = torch.nn.functional.pad(before, (1, 0))
    rows = torch.stack([tile[..., 0], others, -terms[..., 1:].sum(-1), before, own, distance])
    return TileSums(rows, by_pair)


def _distances(tile: Tensor, first: int, ahead: bool, scratch: Scratch) -> Tensor:
    """Mean distance of each row's attention, in tokens, times its mass. Uses scratch "working"."""
    _, rows, keys = tile.shape
    if ahead:
        positions = torch.arange(max(first + rows, keys), device=tile.device, dtype=tile.dtype)
        away = (positions[first : first + rows, None] - positions[:keys]).abs()
        return torch.mul(tile, away, out=scratch.tensor("working", tile.shape, tile)).sum(-1)
    away = scratch.table("distances", rows, tile, distances)
    distance = (tile[..., first : first + rows] * away).sum(-1)
    if first:
        # Keys before the tile: the distance of each to the tile's first row, and from there. Sums of positions
        # themselves would cancel at the end of a long prompt.
        earlier = tile[..., :first]
        to_first_row = torch.arange(first, 0, -1, device=tile.device, dtype=tile.dtype)
        distance += earlier @ to_first_row + away[0] * earlier.sum(-1)
    return distance


def _squares_left_out(tile: Tensor, scale: Tensor, included: Tensor) -> Tensor:
    """Sums of squares of each head's entries over the rows that each other head leaves out, none of them where key 0 is
    kept: float64 (sinks, heads, heads)."""
    heads = len(included)
    squares = tile.new_zeros(len(SINKS), heads, heads, dtype=torch.float64)
    if (included != included[:1]).any():
        of_rows = (tile[..., 1:] * scale[..., None]).square().sum(-1).double()
        squares[1] = of_rows @ (~included).double().T
    return squares


def _products(rows: Tensor, scale: Tensor, working: Tensor) -> Tensor:
    """Inner products of all pairs of heads over rows and keys: (heads, rows, keys) to float64 (sinks, heads, heads),
    without key 0 of rows times `scale` (heads, rows). Overwrites `working`, which may be `rows`.
    """
    kept = _products_of_all_rows(rows)
    scaled = torch.mul(rows, scale[..., None], out=working)
    scaled[..., 0] = 0
    return torch.stack([kept, _products_of_all_rows(scaled)])


def _products_of_all_rows(rows: Tensor) -> Tensor:
    """Inner products of all pairs of heads over rows and keys: (heads, rows, keys) to float64 (heads, heads)."""
    heads, queries, keys = rows.shape
    at_once = min(queries, max(1, ENTRIES_PER_PRODUCT // keys))
    whole = queries - queries % at_once
    blocks = rows[:, :whole].reshape(heads, -1, at_once * keys).transpose(0, 1)
    products = torch.bmm(blocks, blocks.mT).sum(0, dtype=torch.float64)
    if whole < queries:
        block = rows[:, whole:].reshape(heads, -1)
        products += block @ block.T
    return products
