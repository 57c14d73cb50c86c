"""Sums over rows of attention from which the statistics of a layer follow, gathered a few rows at a time.

Both ways of capture end here: whole attention weights, and tiles that are gone once they are added up. Sums within a
tile are in the tile's own precision (float32 at least), sums over tiles in float64.

Both treatments of key 0 come from one pass. Without it, a row that has mass m left is divided by m, which moves out of
every sum over keys: its entropy is E / m + ln m with E = -sum_k A ln A over the other keys.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from headwise.attention.divergence import SMALLEST_MASS, entropy_terms
from headwise.attention.scratch import Scratch
from headwise.attention.sinks import SINKS
from headwise.attention.tile_sums import TileSums, looks_ahead, sum_tile_plainly

SUMS = ("divergences", "overlaps", "products", "squares_left_out")
# Compiled code, which takes half a second to load, adds up prompts of so many tokens.
COMPILED_FROM_TOKENS = 128


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

    def included(self) -> Tensor:
        """1 where a row is included, 0 where it is left out: (sinks, layers, heads, T)."""
        return torch.stack([torch.ones_like(self.others), (self.others >= SMALLEST_MASS).double()])

    def entropy_nats(self) -> Tensor:
        """Natural-log entropy of each row, NaN for a row left out: (sinks, layers, heads, T)."""
        mass = self.others.masked_fill(self.others < SMALLEST_MASS, math.nan)
        # A single key has no entropy: what is left of the difference is rounding.
        dropped = (self.others_entropy / mass + mass.log()).clamp(min=0)
        return torch.stack([self.others_entropy + entropy_terms(self.first), dropped])


@dataclass(frozen=True)
class Pairs:
    """Sums over the rows that both heads of a pair include, float64 (sinks, layers, heads, heads).

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
    """Sums over all rows of layers of the same shape, float64.

    received: (sinks, layers, heads, T), attention that each key receives from the rows not left out. included: see
    `Rows.included`. divergences: (sinks, layers, pairs), twice the Jensen-Shannon divergence in bits, over the rows
    from row 1 on that both heads include. overlaps, products: (sinks, layers, heads, heads), inner products of square
    roots from row 1 on, and of entries. squares_left_out: the same shape, squares of the first head's entries in rows
    that the second leaves out. What is not wanted is None.
    """

    rows: Rows
    included: Tensor
    received: Tensor
    divergences: Tensor | None
    overlaps: Tensor | None
    products: Tensor | None
    squares_left_out: Tensor | None

    @classmethod
    def of(cls, layers: Sequence["LayerSums"]) -> "Sums":
        """The sums of these layers."""
        rows = Rows(*torch.stack([torch.cat(layer.rows, -1) for layer in layers], 1).double())
        kept, dropped = torch.stack([layer.received for layer in layers if layer.received is not None]).unbind(2)
        received = torch.stack([kept, torch.nn.functional.pad(dropped[..., 1:], (1, 0))])
        by_name = {
            name: torch.stack([layer.sums[name] for layer in layers], 1) if name in layers[0].sums else None
            for name in SUMS
        }
        return cls(rows, rows.included(), received, **by_name)

    def pairs(self) -> Pairs:
        """What follows for pairs of heads."""
        included, tokens = self.included, self.included.shape[-1]
        removed = torch.arange(len(SINKS), device=included.device)[:, None, None, None]  # keys: none, or key 0
        visible = torch.arange(1, tokens + 1, device=included.device) - removed
        totals = torch.stack([self.rows.first + self.rows.others, included[1]])
        all_rows, later_rows = included @ included.mT, included[..., 1:] @ included[..., 1:].mT
        distances = squares = None
        if self.overlaps is not None:
            # A head's overlap with itself is its mass, with the same rounding as the others: equal heads get 0. A row
            # that the other head leaves out has a mass of 1.
            mass = _own(self.overlaps) - (_own(later_rows) - later_rows)
            distances = (mass + mass.mT) / 2 - self.overlaps
        if self.products is not None:
            assert self.squares_left_out is not None, "added up with products"
            squares = _own(self.products) - self.squares_left_out
        return Pairs(
            later_rows,
            distances,
            self.products,
            squares,
            totals @ included.mT,
            (included * visible) @ included.mT,
            all_rows * (tokens - removed),
        )


class LayerSums:
    """Adds up the rows of a layer's attention, tile after tile, in order.

    names: statistics of pairs of heads that are wanted (see `layer_statistics.pair_statistics`). causal: whether it is
    known that no query attends to a later key; else each tile is looked at.
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
        """Add attention weights (heads, rows, keys): rows from position `first` on, keys from position 0 on.

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
        of_tile = self._sum(tile, first, self.received)
        self.rows.append(of_tile.rows)
        for name, value in of_tile.by_pair.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def _sum(self, tile: Tensor, first: int, received: Tensor) -> TileSums:
        on_cpu = tile.device.type == "cpu" and tile.dtype == torch.float32
        if on_cpu and not self.looks_ahead and self.tokens >= COMPILED_FROM_TOKENS and (compiled := compiled_sums()):
            return compiled(tile, first, self.names, received)
        return sum_tile_plainly(tile, first, self.names, self.looks_ahead, received, self._scratch)


@cache
def compiled_sums() -> Callable[[Tensor, int, Sequence[str], Tensor], TileSums] | None:
    """`sum_tile_compiled`; None without Numba, which may be missing for a new version of Python."""
    try:
        from headwise.attention.compiled_tile_sums import sum_tile_compiled
    except ImportError:
        return None
    return sum_tile_compiled


def _own(matrices: Tensor) -> Tensor:
    """Of each head its value with itself: (..., heads, heads) to (..., heads, 1)."""
    return matrices.diagonal(dim1=-2, dim2=-1)[..., None]
