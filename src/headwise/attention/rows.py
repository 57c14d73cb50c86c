"""Sums over rows of attention from which the statistics of a layer follow, gathered a few rows at a time.

Both ways of capture end here: whole attention weights, and tiles that are gone once they are counted in. Sums over the
keys of a tile are in the tile's own precision (float32 at least), sums over rows in float64.

One pass over a tile serves both sinks: key 0 is kept apart from all others. With it, a row's sums are those of the
others plus one term; without it, a row that has mass m left is divided by m, which moves out of every sum over keys:
sum_k sqrt(A_i A_j / (m_i m_j)), sum_k A_i A_j / (m_i m_j), and the entropy E / m + ln m with E = -sum_k A ln A.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwise.attention.scratch import Scratch
from headwise.attention.sinks import SINKS, Sink
from headwise.attention.tiles import rows_at_once

# A row that has less than this left without key 0 says nothing about the other keys.
SMALLEST_MASS = 1e-6
# Numbers in head × head matrices of rows that wait to be summed: 8 MB in float32.
MOST_WAITING = 2**21


@dataclass(frozen=True)
class Rows:
    """All query rows of a layer on a prompt of T tokens, float64 (heads, T).

    first: attention to key 0. others: attention to all other keys. others_entropy: -sum A ln A over the other keys.
    """

    first: Tensor
    others: Tensor
    others_entropy: Tensor

    def counted(self, sink: Sink) -> Tensor:
        """1 where a row counts, 0 where it is left out."""
        return torch.ones_like(self.others) if sink == "kept" else (self.others >= SMALLEST_MASS).double()

    def entropy_nats(self, sink: Sink) -> Tensor:
        """Natural-log entropy of each row, NaN for a row left out."""
        if sink == "kept":
            return self.others_entropy + entropy_terms(self.first)
        mass = self.others.masked_fill(self.others < SMALLEST_MASS, math.nan)
        # A single key has no entropy: what is left of the difference is rounding.
        return (self.others_entropy / mass + mass.log()).clamp(min=0)


class LayerSums:
    """Counts in the rows of a layer's attention, tile after tile, in order.

    names: statistics of pairs of heads that are wanted (see `reduce.pair_statistics`).
    """

    def __init__(self, tokens: int, names: Sequence[str], scratch: Scratch | None = None) -> None:
        self.tokens = tokens
        self.names = names
        self.heads = 0
        self.looks_ahead = False  # whether any query attends to a later key
        self.exact = True  # whether sums over keys are in float64
        self._scratch = scratch or Scratch()
        self._first: list[Tensor] = []
        self._others: list[Tensor] = []
        self._others_entropy: list[Tensor] = []
        # What descriptors are made of, tile after tile, from row 1 on.
        self._where: list[Tensor] = []
        self._received: Tensor | None = None
        self._waiting: list[_Waiting] = []
        self._pairs: dict[Sink, dict[str, Tensor]] = {sink: {} for sink in SINKS}

    def add(self, first: int, tile: Tensor) -> None:
        """Count in attention weights (heads, rows, keys): rows from position `first` on, keys from position 0 on.

        Keys beyond the tile's get nothing from these rows. The tile is let go of.
        """
        if tile.element_size() < torch.float32.itemsize:
            tile = tile.float()
        heads, _, keys = tile.shape
        if self._received is None:
            self.heads = heads
            self._received = tile.new_zeros(heads, len(SINKS), self.tokens, dtype=torch.float64)
        if not self.looks_ahead and keys > first + 1:
            self.looks_ahead = bool(tile[..., first:].triu(1).max() > 0)
        if self.looks_ahead:
            # Where every query has the same keys, a nearly flat head's variance is a small difference of large sums.
            tile = tile.double()
        self.exact = self.exact and tile.dtype == torch.float64
        others = tile[..., 1:]
        mass = others.sum(-1)
        scratch = self._scratch.tensor("rows", tile.shape, tile)
        overlaps = products = None
        if "hellinger" in self.names:
            overlaps = _row_grams(torch.sqrt(tile, out=scratch)[..., 1:])
        if "pattern_correlation" in self.names:
            products = _row_grams(others)
        terms = torch.clamp(tile, min=torch.finfo(tile.dtype).tiny, out=scratch).log_().mul_(tile)
        self._first.append(tile[..., 0].clone())  # a view would show what the tile's memory is used for next
        self._others.append(mass)
        self._others_entropy.append(terms[..., 1:].sum(-1))
        scale = (mass >= SMALLEST_MASS) / mass.clamp(min=SMALLEST_MASS)
        self._received[..., :keys] += torch.stack([torch.ones_like(scale), scale], 1) @ tile
        self._where.append(_where(first, tile, self._first[-1], self._others[-1]))
        if "js_divergence" in self.names:
            for sink in SINKS:
                self._add_pairs(sink, {"divergences": _divergences(tile.double(), first, sink)})
        if overlaps is not None or products is not None or "js_divergence" in self.names:
            self._waiting.append(_Waiting(first, self._first[-1], self._others[-1], overlaps, products))
            if sum(each.others.shape[1] for each in self._waiting) * heads**2 >= MOST_WAITING:
                self._fold()

    def rows(self) -> Rows:
        """What was counted in of single rows."""
        first, others, terms = (
            torch.cat(each, -1).double() for each in (self._first, self._others, self._others_entropy)
        )
        return Rows(first, others, -terms)

    def received(self, sink: Sink) -> Tensor:
        """Attention that each key receives, summed over the rows not left out: float64 (heads, T)."""
        assert self._received is not None, "a layer has rows"
        received = self._received[:, SINKS.index(sink)]
        if sink == "dropped":
            received[:, 0] = 0
        return received

    def where(self) -> Tensor:
        """What descriptors of each row from row 1 on are: float64 (4, heads, T - 1), see `descriptors`."""
        return torch.cat(self._where, -1).double()

    def pairs(self, sink: Sink) -> dict[str, Tensor]:
        """Sums over rows that statistics of pairs are made of: (H, H), but divergences one value per pair.

        later_rows: how many rows from row 1 on both heads count. distances: over these, squared Hellinger distances.
        divergences: over these, twice the Jensen-Shannon divergence in bits. products, sums, squares: of entries, as
        Pearson's correlation needs them. causal_entries, all_entries: how many entries these are, by support.
        """
        self._fold()
        return self._pairs[sink]

    def _fold(self) -> None:
        """Sum what waits over its rows: head × head matrices of single rows, too large to be kept for all rows."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for sink in SINKS:
            self._add_pairs(sink, _pair_sums(_together(waiting), self.tokens, sink))

    def _add_pairs(self, sink: Sink, sums: dict[str, Tensor]) -> None:
        before = self._pairs[sink]
        for name, value in sums.items():
            before[name] = before[name] + value if name in before else value


@dataclass(frozen=True)
class _Waiting:
    """Rows from position `first` on: see `Rows`. overlaps, products: (rows, heads, heads), over the keys but key 0, the
    sums of sqrt(A_i A_j) and of A_i A_j; None where not wanted."""

    first_row: int
    first: Tensor
    others: Tensor
    overlaps: Tensor | None
    products: Tensor | None


def _together(waiting: Sequence[_Waiting]) -> _Waiting:
    def joined(tensors: list[Tensor | None]) -> Tensor | None:
        return torch.cat([each for each in tensors if each is not None]).double() if tensors[0] is not None else None

    return _Waiting(
        waiting[0].first_row,
        torch.cat([each.first for each in waiting], -1).double(),
        torch.cat([each.others for each in waiting], -1).double(),
        joined([each.overlaps for each in waiting]),
        joined([each.products for each in waiting]),
    )


def _pair_sums(rows: _Waiting, tokens: int, sink: Sink) -> dict[str, Tensor]:
    first, others = rows.first.T, rows.others.T  # (rows, heads)
    if sink == "kept":
        counted, scale, total = torch.ones_like(others), torch.ones_like(others), first + others
    else:
        counted = (others >= SMALLEST_MASS).double()
        scale, total = counted / others.clamp(min=SMALLEST_MASS), counted
    later = slice(0 if rows.first_row else 1, None)
    sums = {"later_rows": counted[later].T @ counted[later]}
    if rows.overlaps is not None:
        overlaps = _outer(scale[later].sqrt()).mul_(rows.overlaps[later])
        if sink == "kept":
            overlaps += _outer(first[later].sqrt())
        # A head's overlap with itself is its mass, with the same rounding as the others: equal heads get 0.
        mass = overlaps.diagonal(dim1=1, dim2=2).T @ counted[later]
        sums["distances"] = (mass + mass.T) / 2 - overlaps.sum(0)
    if rows.products is not None:
        products = _outer(scale).mul_(rows.products)
        if sink == "kept":
            products += _outer(first)
        sums["products"] = products.sum(0)
        sums["squares"] = products.diagonal(dim1=1, dim2=2).T @ counted
        sums["sums"] = total.T @ counted
        visible = torch.arange(rows.first_row + 1, rows.first_row + 1 + len(others), device=others.device)
        removed_keys = 1 if sink == "dropped" else 0
        sums["causal_entries"] = (counted * (visible - removed_keys)[:, None]).T @ counted
        sums["all_entries"] = counted.T @ counted * (tokens - removed_keys)
    return sums


def _outer(rows: Tensor) -> Tensor:
    """Products of all pairs of heads in each row: (rows, heads) to (rows, heads, heads)."""
    return rows[:, :, None] * rows[:, None, :]


def _row_grams(rows: Tensor) -> Tensor:
    """Inner products of all pairs of heads in each row: (heads, rows, keys) to (rows, heads, heads)."""
    return rows.transpose(0, 1) @ rows.permute(1, 2, 0)


def _where(first: int, tile: Tensor, first_key: Tensor, others: Tensor) -> Tensor:
    """Of each row from row 1 on, its attention to the key before and to its own, to key 0, and its mean distance."""
    _, rows, keys = tile.shape
    behind = min(first + rows, keys)
    own = tile[..., first:behind]
    positions = torch.arange(keys, device=tile.device, dtype=tile.dtype)
    queries = positions[first : first + rows]
    # |q - k| from the tile's first row: its keys one by one, those before and behind by their distance to that row.
    # Sums of k itself would cancel at the end of a long prompt.
    away = (positions - first).abs()
    away[first:behind] = 0
    ahead = tile[..., behind:].sum(-1)
    before = first_key + others - own.sum(-1) - ahead
    distance = tile @ away + (queries - first) * (before - ahead)
    distance += (own * (queries[:, None] - positions[first:behind]).abs()).sum(-1)
    skipped = 0 if first else 1
    return torch.stack(
        [
            tile.diagonal(first - 1, 1, 2),
            tile.diagonal(first, 1, 2)[:, skipped:],
            tile[:, skipped:, 0],
            distance[:, skipped:],
        ]
    )


def entropy_terms(values: Tensor) -> Tensor:
    """-x ln x of float64 values, with 0 ln 0 = 0."""
    # As torch.special.entr, whose logarithm is not vectorised: this takes a third of the time.
    return -(values * values.clamp(min=torch.finfo(torch.float64).tiny).log())


def _divergences(tile: Tensor, first: int, sink: Sink) -> Tensor:
    """Twice the Jensen-Shannon divergence in bits of each pair of heads, summed over the rows from row 1 on that both
    count: S(a + b) - S(a) - S(b) in bits, S = -sum x ln x, plus the masses of a and b. tile: float64.
    """
    rows = tile if first else tile[:, 1:]
    counted = torch.ones_like(rows[..., 0])
    if sink == "dropped":
        rows = torch.nn.functional.pad(rows[..., 1:], (1, 0))
        mass = rows.sum(-1)
        counted = (mass >= SMALLEST_MASS).double()
        # Rows that a head leaves out are zero: they add nothing to a difference of S, since one of the two is zero.
        rows *= (counted / mass.clamp(min=SMALLEST_MASS))[..., None]
    masses = rows.sum(-1) @ counted.T
    # Most entries are above the diagonal, outside the window or the dropped key: nobody attends there.
    entries = rows.flatten(1)
    entries = entries[:, (entries > 0).any(0)]
    entropy = entropy_terms(entries).sum(-1)
    i, j = torch.triu_indices(len(entries), len(entries), offset=1, device=entries.device)
    at_once = rows_at_once(1, entries.shape[1])
    parts = zip(i.split(at_once), j.split(at_once), strict=True)
    joint = torch.cat([entropy_terms(entries[a] + entries[b]).sum(-1) for a, b in parts])
    return (joint - entropy[i] - entropy[j]) / math.log(2) + masses[i, j] + masses[j, i]
