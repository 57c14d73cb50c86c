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

from headwise.attention.counting import count, looks_ahead
from headwise.attention.divergence import SMALLEST_MASS, entropy_terms
from headwise.attention.scratch import Scratch
from headwise.attention.sinks import SINKS

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

        The tile has the rows' own keys at least; those beyond it get nothing from these rows. It is let go of.
        """
        if tile.element_size() < torch.float32.itemsize:
            tile = tile.float()
        if self.received is None:
            self.received = tile.new_zeros(len(tile), len(SINKS), self.tokens, dtype=torch.float64)
        self.looks_ahead = self.looks_ahead or (not self._causal and looks_ahead(tile, first))
        if self.looks_ahead:
            # Where every query has the same keys, a nearly flat head's variance is a small difference of large sums.
            tile = tile.double()
        self.exact = self.exact and tile.dtype == torch.float64
        counted = count(tile, first, self.names, self.looks_ahead, self.received, self._scratch)
        self.rows.append(counted.rows)
        for name, value in counted.by_pair.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value


def _own(matrices: Tensor) -> Tensor:
    """Of each head its value with itself: (..., heads, heads) to (..., heads, 1)."""
    return matrices.diagonal(dim1=-2, dim2=-1)[..., None]
