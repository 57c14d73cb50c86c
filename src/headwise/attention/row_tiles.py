"""The rows of attention a few at a time, so that work on a long prompt needs little memory beside the weights."""

from collections.abc import Iterator

import torch
from torch import Tensor

# Entries of attention that are worked on at once: 8 MB in float64, 4 MB in float32. With fewer, long prompts take more
# steps; with more, tiles hold more keys that their first rows do not see.
ENTRIES_AT_ONCE = 2**20
# Starting a step on a GPU takes as long as working on some hundred thousand entries there: 128 MB in float32.
ENTRIES_AT_ONCE_ON_GPU = 2**25


def rows_at_once(heads: int, tokens: int, device: torch.device) -> int:
    """How many rows of attention over that many keys to work on at once, the same rows of all heads."""
    entries = ENTRIES_AT_ONCE if device.type == "cpu" else ENTRIES_AT_ONCE_ON_GPU
    return max(1, entries // max(1, heads * tokens))


def row_tiles(weights: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The rows of attention weights (heads, T, T) a few at a time: the first row's position, and a view (heads, rows,
    keys). Keys that no head looks at from these rows on, such as those in the future of causal attention, are left out
    where there is more than one tile.
    """
    heads, tokens, _ = weights.shape
    at_once = rows_at_once(heads, tokens, weights.device)
    for first in range(0, tokens, at_once):
        rows = weights[:, first : first + at_once]
        behind = first + at_once
        yield first, rows if rows[..., behind:].any() else rows[..., :behind]
