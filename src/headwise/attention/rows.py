"""Sums over rows of attention from which the statistics of a layer follow, gathered a few rows at a time.

Both ways of capture end here: whole attention weights, and tiles that are gone once they are counted in. Sums within a
tile are in the tile's own precision (float32 at least), sums over tiles in float64.

Both treatments of key 0 come from one pass. Without it, a row that has mass m left is divided by m, which moves out of
every sum over keys: its entropy is E / m + ln m with E = -sum_k A ln A over the other keys.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwise.attention.divergence import SMALLEST_MASS, divergences, entropy_terms
from headwise.attention.scratch import Scratch, distances
from headwise.attention.sinks import SINKS

# About as many entries of each head are multiplied at once: fewer are slow, and more would add up rounding.
ENTRIES_PER_PRODUCT = 1024
# Rows of so many keys are multiplied one by one, which is slow for shorter ones.
KEYS_OF_A_LONG_ROW = 512
SUMS = ("divergences", "overlaps", "products", "squares_left_out")


@dataclass(frozen=True)
class Rows:
    """All query rows of layers of the same shape on a prompt of T tokens, float64 (layers, heads, T).

    first: attention to key 0. others: attention to all other keys. others_entropy: -sum A ln A over the other keys.
    before, own: attention to the key before and to its own; 0 before row 0. distance: sum over keys of |query - key| A.
    """

    first: Tensor
    others: Tensor
    others_entropy: Tensor
    before: Tensor
    own: Tensor
    distance: Tensor

    def counted(self) -> Tensor:
        """1 where a row counts, 0 where it is left out: (sinks, layers, heads, T)."""
        return torch.stack([torch.ones_like(self.others), (self.others >= SMALLEST_MASS).double()])

    def entropy_nats(self) -> Tensor:
        """Natural-log entropy of each row, NaN for a row left out: (sinks, layers, heads, T)."""
        mass = self.others.masked_fill(self.others < SMALLEST_MASS, math.nan)
        # A single key has no entropy: what is left of the difference is rounding.
        dropped = (self.others_entropy / mass + mass.log()).clamp(min=0)
        return torch.stack([self.others_entropy + entropy_terms(self.first), dropped])


@dataclass(frozen=True)
class Pairs:
    """Sums over the rows that both heads of a pair count, float64 (sinks, layers, heads, heads).

    later_rows: how many rows from row 1 on these are. distances: over them, squared Hellinger distances. products:
    of the heads' entries. squares, sums: of the first head's entries. causal_entries, all_entries: how many there are,
    by support. What is not wanted is None.
    """

    later_rows: Tensor
    distances: Tensor | None
    products: Tensor | None
    squares: Tensor | None
    sums: Tensor
    causal_entries: Tensor
    all_entries: Tensor


@dataclass(frozen=True)
class Sums:
    """What was counted in of layers of the same shape, float64.

    received: (sinks, layers, heads, T), attention that each key receives from the rows not left out. counted: see
    `Rows.counted`. divergences: (sinks, layers, pairs), twice the Jensen-Shannon divergence in bits, over the rows from
    row 1 on that both heads count. overlaps, products: (sinks, layers, heads, heads), inner products of square roots
    from row 1 on, and of entries. squares_left_out: the same shape, squares of the first head's entries in rows that
    the second leaves out. What is not wanted is None.
    """

    rows: Rows
    counted: Tensor
    received: Tensor
    divergences: Tensor | None
    overlaps: Tensor | None
    products: Tensor | None
    squares_left_out: Tensor | None

    @classmethod
    def of(cls, layers: Sequence["LayerSums"]) -> "Sums":
        """What was counted in of these layers."""
        rows = Rows(*torch.stack([torch.cat(layer.rows, -1) for layer in layers], 1).double())
        kept, dropped = torch.stack([layer.received for layer in layers if layer.received is not None]).unbind(2)
        received = torch.stack([kept, torch.nn.functional.pad(dropped[..., 1:], (1, 0))])
        by_name = {
            name: torch.stack([layer.sums[name] for layer in layers], 1) if name in layers[0].sums else None
            for name in SUMS
        }
        return cls(rows, rows.counted(), received, **by_name)

    def pairs(self) -> Pairs:
        """What follows for pairs of heads."""
        counted, tokens = self.counted, self.counted.shape[-1]
        removed = torch.arange(len(SINKS), device=counted.device)[:, None, None, None]  # keys: none, or key 0
        visible = torch.arange(1, tokens + 1, device=counted.device) - removed
        totals = torch.stack([self.rows.first + self.rows.others, counted[1]])
        all_rows, later_rows = counted @ counted.mT, counted[..., 1:] @ counted[..., 1:].mT
        distances = squares = None
        if self.overlaps is not None:
            # A head's overlap with itself is its mass, with the same rounding as the others: equal heads get 0. A row
            # that the other head leaves out has a mass of 1.
            mass = _own(self.overlaps) - (_own(later_rows) - later_rows)
            distances = (mass + mass.mT) / 2 - self.overlaps
        if self.products is not None:
            assert self.squares_left_out is not None, "counted in with products"
            squares = _own(self.products) - self.squares_left_out
        return Pairs(
            later_rows,
            distances,
            self.products,
            squares,
            totals @ counted.mT,
            (counted * visible) @ counted.mT,
            all_rows * (tokens - removed),
        )


class LayerSums:
    """Counts in the rows of a layer's attention, tile after tile, in order.

    names: statistics of pairs of heads that are wanted (see `reduce.pair_statistics`). causal: whether it is known that
    no query attends to a later key; else each tile is looked at.
    """

    def __init__(self, tokens: int, names: Sequence[str], scratch: Scratch | None = None, causal: bool = False) -> None:
        self.tokens = tokens
        self.names = names
        self.looks_ahead = False  # whether any query attends to a later key
        self.exact = True  # whether sums within tiles are in float64
        self._causal = causal
        self._scratch = scratch or Scratch()
        self.rows: list[Tensor] = []  # the fields of `Rows`, (6, heads, rows) tile after tile
        self.received: Tensor | None = None  # (heads, sinks, T)
        self.sums: dict[str, Tensor] = {}  # the other fields of `Sums`, by name

    def add(self, first: int, tile: Tensor) -> None:
        """Count in attention weights (heads, rows, keys): rows from position `first` on, keys from position 0 on.

        Keys beyond the tile's get nothing from these rows. The tile is let go of.
        """
        if tile.element_size() < torch.float32.itemsize:
            tile = tile.float()
        heads, _, keys = tile.shape
        if self.received is None:
            self.received = tile.new_zeros(heads, len(SINKS), self.tokens, dtype=torch.float64)
        if not (self._causal or self.looks_ahead) and keys > first + 1:
            self.looks_ahead = bool(tile[..., first:].triu(1).max() > 0)
        if self.looks_ahead:
            # Where every query has the same keys, a nearly flat head's variance is a small difference of large sums.
            tile = tile.double()
        self.exact = self.exact and tile.dtype == torch.float64
        others = tile[..., 1:].sum(-1)
        counted = others >= SMALLEST_MASS
        scale = counted / others.clamp(min=SMALLEST_MASS)
        self.received[..., :keys] += torch.stack([torch.ones_like(scale), scale], 1) @ tile
        scratch = self._scratch.tensor("working", tile.shape, tile)
        if "hellinger" in self.names:
            # Most entries are zero, of which square roots take six times as long.
            roots = torch.clamp(tile, min=torch.finfo(tile.dtype).tiny, out=scratch).sqrt_()
            if first == 0:
                roots[:, 0] = 0
            self._add("overlaps", _products(roots, scale.sqrt(), scratch))
        if "pattern_correlation" in self.names:
            self._add("products", _products(tile, scale, scratch))
            self._add("squares_left_out", _squares_left_out(tile, scale, counted))
        if "js_divergence" in self.names:
            self._add("divergences", torch.stack([divergences(tile.double(), first, sink) for sink in SINKS]))
        distance = self._distances(first, tile, scratch)
        terms = torch.clamp(tile, min=torch.finfo(tile.dtype).tiny, out=scratch).log_().mul_(tile)
        own, before = tile.diagonal(first, 1, 2), tile.diagonal(first - 1, 1, 2)
        if first == 0:
            before = torch.nn.functional.pad(before, (1, 0))
        self.rows.append(torch.stack([tile[..., 0], others, -terms[..., 1:].sum(-1), before, own, distance]))

    def _add(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def _distances(self, first: int, tile: Tensor, scratch: Tensor) -> Tensor:
        """Mean distance of each row's attention, in tokens, times its mass."""
        _, rows, keys = tile.shape
        if self.looks_ahead:
            positions = torch.arange(max(first + rows, keys), device=tile.device, dtype=tile.dtype)
            away = (positions[first : first + rows, None] - positions[:keys]).abs()
            return torch.mul(tile, away, out=scratch).sum(-1)
        away = self._scratch.table("distances", rows, tile, distances)
        distance = (tile[..., first : first + rows] * away).sum(-1)
        if first:
            # Keys before the tile: the distance of each to the tile's first row, and from there. Sums of positions
            # themselves would cancel at the end of a long prompt.
            earlier = tile[..., :first]
            to_first_row = torch.arange(first, 0, -1, device=tile.device, dtype=tile.dtype)
            distance += earlier @ to_first_row + away[0] * earlier.sum(-1)
        return distance


def _own(matrices: Tensor) -> Tensor:
    """Of each head its value with itself: (..., heads, heads) to (..., heads, 1)."""
    return matrices.diagonal(dim1=-2, dim2=-1)[..., None]


def _squares_left_out(tile: Tensor, scale: Tensor, counted: Tensor) -> Tensor:
    """Sums of squares of each head's entries over the rows that each other head leaves out, none of them where key 0 is
    kept: float64 (sinks, heads, heads)."""
    heads = len(counted)
    squares = tile.new_zeros(len(SINKS), heads, heads, dtype=torch.float64)
    if (counted != counted[:1]).any():
        of_rows = (tile[..., 1:] * scale[..., None]).square().sum(-1).double()
        squares[1] = of_rows @ (~counted).double().T
    return squares


def _products(rows: Tensor, scale: Tensor, scratch: Tensor) -> Tensor:
    """Inner products of all pairs of heads over rows and keys: (heads, rows, keys) to float64 (sinks, heads, heads),
    without key 0 of rows times `scale` (heads, rows). Overwrites `scratch`, which may be `rows`.
    """
    if rows.shape[-1] >= KEYS_OF_A_LONG_ROW:
        return _products_row_by_row(rows, scale)
    kept = _products_of_all_rows(rows)
    scaled = torch.mul(rows, scale[..., None], out=scratch)
    scaled[..., 0] = 0
    return torch.stack([kept, _products_of_all_rows(scaled)])


def _products_row_by_row(rows: Tensor, scale: Tensor) -> Tensor:
    """`_products` in one pass: the products of a row are scaled, not its entries."""
    first, others = rows[..., 0].double(), rows[..., 1:]
    of_rows = (others.transpose(0, 1) @ others.permute(1, 2, 0)).double()  # (rows, heads, heads)
    scaled = of_rows * scale.T[:, :, None] * scale.T[:, None, :]
    return torch.stack([of_rows.sum(0) + first @ first.T, scaled.sum(0)])


def _products_of_all_rows(rows: Tensor) -> Tensor:
    """Inner products of all pairs of heads over rows and keys: (heads, rows, keys) to float64 (heads, heads)."""
    heads, count, keys = rows.shape
    at_once = min(count, max(1, ENTRIES_PER_PRODUCT // keys))
    whole = count - count % at_once
    blocks = rows[:, :whole].reshape(heads, -1, at_once * keys).transpose(0, 1)
    products = torch.bmm(blocks, blocks.mT).sum(0, dtype=torch.float64)
    if whole < count:
        block = rows[:, whole:].reshape(heads, -1)
        products += block @ block.T
    return products
