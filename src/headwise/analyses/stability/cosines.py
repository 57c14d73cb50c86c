"""Cosines between the attention patterns of all heads of all refits, in one pass over the stored attention.

A prompt's attention is one matrix, a row per refit, layer and head; the cosines of all pairs are its product with
itself. Along with the cosines on the same prompt come those between neighbouring prompts, cut to the same number of
tokens: what two heads share whatever the text. Memory holds two prompts of some refits; where all refits do not fit,
the pass is repeated for pairs of blocks of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from headwise.analyses.stability.matching import IntArray, best_match, one_to_one
from headwise.analyses.stability.names import Measure, Pairing
from headwise.analyses.stability.packed import PackedAttention, StabilityError, check_alike
from headwise.runtime.progress import track
from headwise.statistics.arrays import FloatArray
from headwise.statistics.ties import OF_ONE

SAME, OTHER = Pairing.SAME, Pairing.OTHER
# What is compared: the pattern; the pattern without key 0; the pattern less the mean of each row.
MEASURES = (Measure.COSINE, Measure.WITHOUT_BOS, Measure.ROW_CENTRED)
# Squared length below which a pattern has no direction: float16 holds nothing smaller.
SMALLEST_SQUARE = 1e-14
# Bytes per entry of a refit's prompt while it is compared: float16 as read, and float64 of each measure on two prompts.
BYTES_PER_ENTRY = 2 + 8 + 2 * 8 * len(MEASURES)
# Bytes per pair of heads: sums and numbers of the cosines of all layers, and their means.
BYTES_PER_PAIR = 24


@dataclass(frozen=True)
class View:
    """What part of the attention is compared: one of MEASURES, on whole prompts or on their first words."""

    measure: Measure
    words: int | None = None


WHOLE = View(Measure.COSINE)


@dataclass(frozen=True, eq=False)
class AcrossLayers:
    """The best match of each head among all heads of all layers of another refit: cosine and layer position.

    best, best_layer        (R, R, L, H), each head by itself; a refit with itself included
    matched, matched_layer  (R, R, L, H), one-to-one; NaN and −1 for a refit with itself
    """

    best: FloatArray
    best_layer: IntArray
    matched: FloatArray
    matched_layer: IntArray


@dataclass(frozen=True, eq=False)
class RefitCosines:
    """Mean cosines between the heads of R refits, with L layers of H heads.

    layers        (L,) indices of the attention layers in the model
    same_layer    by view and pairing (SAME, OTHER): float64 (R, R, L, H, H), heads of the first refit by heads of the
                  second; NaN where no prompt defines it
    prompts       by view and pairing: how many prompts, or pairs of prompts, entered
    left_out      by view: (R,) heads × prompts that were left out, their pattern having no direction
    across        best matches among all layers, on whole prompts
    """

    layers: tuple[int, ...]
    same_layer: Mapping[tuple[View, Pairing], FloatArray]
    prompts: Mapping[tuple[View, Pairing], int]
    left_out: Mapping[View, IntArray]
    across: AcrossLayers


def refit_cosines(
    refits: Sequence[PackedAttention],
    tokens_of_words: Mapping[int, Mapping[str, int]],
    memory_mb: float,
    measures: Sequence[Measure] = MEASURES,
) -> RefitCosines:
    """Compare the heads of all refits on all prompts.

    tokens_of_words  for some numbers of words: how many tokens the first words of each prompt are, by prompt id;
                     prompts with fewer words are missing. Only for causal attention, where the pattern of a prompt's
                     beginning is the beginning of its pattern
    memory_mb        memory for attention and sums, in MB; more refits than fit are compared in blocks

    Raises StabilityError where refits do not belong together, or where not even two of them fit into memory.
    """
    check_alike(refits)
    views = [*map(View, measures), *(View(WHOLE.measure, words) for words in tokens_of_words)]
    count, layers, heads = len(refits), len(refits[0].layers), refits[0].heads
    size = _block_size(refits, memory_mb)
    blocks = [range(start, min(start + size, count)) for start in range(0, count, size)]
    # A block is compared with itself in every pair that it belongs to.
    passes = list(combinations(blocks, 2)) or [(blocks[0], range(0))]
    keys = [(view, pairing) for view in views for pairing in (SAME, OTHER)]
    same_layer = {key: np.full((count, count, layers, heads, heads), np.nan) for key in keys}
    left_out = {view: np.zeros(count, dtype=np.int64) for view in views}
    shape = (count, count, layers, heads)
    across = AcrossLayers(np.full(shape, np.nan), np.full(shape, -1), np.full(shape, np.nan), np.full(shape, -1))
    # Neighbours in this order have about the same length.
    order = np.argsort(refits[0].tokens, kind="stable")
    prompts: Mapping[tuple[View, Pairing], int] = {}
    for number, pair in enumerate(passes, start=1):
        members = [*pair[0], *pair[1]]
        sums = CosineSums(views, refits[0], len(members))
        for place in track(order, f"heads of refits, pass {number} of {len(passes)}", len(order)):
            attention = np.stack([refits[member].read(place) for member in members], axis=1)
            sums.add(attention, _tokens_of_views(views, refits[0], place, tokens_of_words))
        at = np.ix_(members, members)
        for key in keys:
            same_layer[key][at] = sums.means(key)
        for view in views:
            left_out[view][members] = sums.left_out[view]
        _match_across_layers(sums.means_across_layers(), members, across)
        prompts = sums.prompts
    return RefitCosines(refits[0].layers, same_layer, prompts, left_out, across)


class CosineSums:
    """Sums of cosines over prompts, which are added one by one, and their means."""

    def __init__(
        self, views: Sequence[View], like: PackedAttention, refits: int, chance: bool = True, across_layers: bool = True
    ) -> None:
        """Nothing added yet, for so many refits that are `like` this one.

        chance: whether neighbouring prompts are compared as well. across_layers: whether heads of all layers are.
        """
        self.like, self.refits, self.chance, self.across_layers = like, refits, chance, across_layers
        layers, heads = len(like.layers), like.heads
        shape = (layers, refits * heads, refits * heads)
        self.views = views
        self.sums = {(view, pairing): np.zeros(shape) for view in views for pairing in (SAME, OTHER)}
        self.numbers = {key: np.zeros(shape) for key in self.sums}
        self.prompts = dict.fromkeys(self.sums, 0)
        self.left_out = {view: np.zeros(refits, dtype=np.int64) for view in views}
        wide = layers * refits * heads if across_layers else 0
        self.wide_sum, self.wide_number = np.zeros((wide, wide)), np.zeros((wide, wide))
        self._previous: dict[View, tuple[FloatArray, int]] = {}

    def add(self, attention: npt.NDArray[np.float16], tokens: Mapping[View, int]) -> None:
        """Add a prompt: attention (L, R, H, entries), and the number of tokens that each view reads of it.

        A view that is missing in `tokens` leaves the prompt out.
        """
        layers, refits, heads, entries = attention.shape
        rows = attention.reshape(layers, refits * heads, entries).astype(np.float64)
        patterns: dict[str, FloatArray] = {}
        for view in self.views:
            if view not in tokens:
                continue
            if view.measure not in patterns:
                patterns[view.measure] = pattern(rows, view.measure, self.like.support)
            own = tokens[view]
            vectors = patterns[view.measure][..., : self.like.entries(own)]
            products = vectors @ vectors.transpose(0, 2, 1)
            scale = _scale(np.diagonal(products, axis1=1, axis2=2))
            self.left_out[view] += (scale == 0).reshape(layers, refits, heads).sum((0, 2))
            self._add((view, SAME), products, scale, scale)
            if view == WHOLE and self.across_layers:
                wide = vectors.reshape(-1, vectors.shape[-1])
                self.wide_sum += (wide @ wide.T) * np.outer(scale, scale)
                self.wide_number += np.outer(scale > 0, scale > 0)
            if self.chance:
                if view in self._previous:
                    self._add_other(view, vectors, own, *self._previous[view])
                self._previous[view] = vectors, own

    def means(self, key: tuple[View, Pairing]) -> FloatArray:
        """Mean cosines of heads of the same layer: (R, R, L, H, H)."""
        layers, refits, heads = len(self.like.layers), self.refits, self.like.heads
        means = _mean(self.sums[key], self.numbers[key])
        return means.reshape(layers, refits, heads, refits, heads).transpose(1, 3, 0, 2, 4)

    def means_across_layers(self) -> FloatArray:
        """Mean cosines of all heads on whole prompts: (R, R, L, H, L, H)."""
        layers, refits, heads = len(self.like.layers), self.refits, self.like.heads
        means = _mean(self.wide_sum, self.wide_number)
        return means.reshape(layers, refits, heads, layers, refits, heads).transpose(1, 4, 0, 2, 3, 5)

    def _add_other(self, view: View, vectors: FloatArray, own: int, previous: FloatArray, before: int) -> None:
        """Add the cosines with the prompt before, both cut to the shorter; encoders' patterns cannot be cut."""
        if self.like.support == "full" and own != before:
            return
        cut = self.like.entries(min(own, before))
        vectors, previous = vectors[..., :cut], previous[..., :cut]
        scales = (_scale(np.einsum("...e,...e->...", each, each)) for each in (vectors, previous))
        self._add((view, OTHER), vectors @ previous.transpose(0, 2, 1), *scales)

    def _add(self, key: tuple[View, Pairing], products: FloatArray, one: FloatArray, two: FloatArray) -> None:
        """Add the cosines that these products (L, R H, R H) and scales (L, R H) make."""
        cosines = products * one[:, :, None] * two[:, None, :]
        both = ((one > 0)[:, :, None] & (two > 0)[:, None, :]).astype(np.float64)
        if key[1] == OTHER:
            # Two refits on two prompts: either may have read either.
            cosines, both = cosines + cosines.transpose(0, 2, 1), both + both.transpose(0, 2, 1)
        self.sums[key] += cosines
        self.numbers[key] += both
        self.prompts[key] += 1


def pattern(rows: FloatArray, measure: Measure, support: str) -> FloatArray:
    """What of packed attention (..., entries) a measure compares.

    cosine: all of it. cosine_without_bos: the entries of key 0 are zero. cosine_row_centred: from each row its mean
    over the keys that the query may attend to is subtracted, so that uniform attention has no direction.
    """
    if measure == "cosine":
        return rows
    starts, keys = _rows(rows.shape[-1], support)
    if measure == "cosine_without_bos":
        without = rows.copy()
        without[..., starts] = 0
        return without
    if measure == "cosine_row_centred":
        means = np.add.reduceat(rows, starts, axis=-1) / keys
        return rows - np.repeat(means, keys, axis=-1)
    raise ValueError(f"unknown measure '{measure}': choose from {', '.join(MEASURES)}")


def _rows(entries: int, support: str) -> tuple[IntArray, IntArray]:
    """Where each query's row starts, and how many keys it has."""
    if support == "full":
        tokens = round(entries**0.5)
        keys = np.full(tokens, tokens)
    else:
        keys = np.arange(1, round(((8 * entries + 1) ** 0.5 - 1) / 2) + 1)
    return np.cumsum(keys) - keys, keys


def _scale(squares: FloatArray) -> FloatArray:
    """What makes vectors of these squared lengths as long as 1; 0 for those that have no direction."""
    defined = squares > SMALLEST_SQUARE
    return np.where(defined, 1 / np.sqrt(np.where(defined, squares, 1)), 0)


def _mean(sums: FloatArray, numbers: FloatArray) -> FloatArray:
    means = sums / np.where(numbers > 0, numbers, np.nan)
    return np.where(np.abs(means) > 1 - OF_ONE, np.sign(means), means)


def _tokens_of_views(
    views: Sequence[View], refit: PackedAttention, place: int, tokens_of_words: Mapping[int, Mapping[str, int]]
) -> dict[View, int]:
    """How many tokens each view reads of a prompt; views that leave it out are missing."""
    name, whole = refit.prompts[place], int(refit.tokens[place])
    tokens = {view: whole if view.words is None else tokens_of_words[view.words].get(name) for view in views}
    return {view: number for view, number in tokens.items() if number is not None}


def _match_across_layers(means: FloatArray, members: Sequence[int], across: AcrossLayers) -> None:
    """Write the best matches of these refits among each other into `across`."""
    heads = means.shape[-1]
    for row, one in enumerate(members):
        for column, two in enumerate(members):
            cosines = means[row, column].reshape(*means.shape[2:4], -1)
            across.best[one, two], best = best_match(cosines)
            across.best_layer[one, two] = np.where(best < 0, -1, best // heads)
            if one < two:
                wide = cosines.reshape(-1, cosines.shape[-1])
                for (first, second), table in (((one, two), wide), ((two, one), wide.T)):
                    value, partner = one_to_one(table)
                    across.matched[first, second] = value.reshape(cosines.shape[:2])
                    layer = np.where(partner < 0, -1, partner // heads)
                    across.matched_layer[first, second] = layer.reshape(cosines.shape[:2])


def _block_size(refits: Sequence[PackedAttention], memory_mb: float) -> int:
    """How many refits are compared in one pass: all, or the half of those that fit into memory."""
    first = refits[0]
    rows = len(first.layers) * first.heads
    longest = first.entries(int(first.tokens.max()))

    def fits(number: int) -> bool:
        needed = number * rows * longest * BYTES_PER_ENTRY + (number * rows) ** 2 * BYTES_PER_PAIR
        return needed <= memory_mb * 10**6

    if fits(len(refits)):
        return len(refits)
    size = max((number for number in range(1, len(refits)) if fits(2 * number)), default=0)
    if size == 0:
        raise StabilityError(
            f"{first.path}: two refits on a prompt of {int(first.tokens.max())} tokens do not fit into "
            f"{memory_mb:g} MB: raise stability.memory_mb"
        )
    return size
