"""Entropies of rows of attention, and Jensen-Shannon divergences of pairs of heads, which follow from them."""

import math

import torch
from torch import Tensor

from headwise.attention.row_tiles import rows_at_once
from headwise.attention.sinks import Sink

# A row that has less than this left without key 0 says nothing about the other keys.
SMALLEST_MASS = 1e-6


def entropy_terms(values: Tensor) -> Tensor:
    """-x ln x of float64 values, with 0 ln 0 = 0."""
    # As torch.special.entr, whose logarithm is not vectorised: this takes a third of the time.
    return -(values * values.clamp(min=torch.finfo(torch.float64).tiny).log())


def divergences(tile: Tensor, first: int, sink: Sink) -> Tensor:
    """Twice the Jensen-Shannon divergence in bits of each pair of heads, summed over the rows from row 1 on that both
    count: S(a + b) - S(a) - S(b) in bits, S = -sum x ln x, plus the masses of a and b. tile: float64.
    """
    rows = tile if first else tile[:, 1:]
    included = torch.ones_like(rows[..., 0])
    if sink == "dropped":
        rows = torch.nn.functional.pad(rows[..., 1:], (1, 0))
        mass = rows.sum(-1)
        included = (mass >= SMALLEST_MASS).double()
        # Rows that a head leaves out are zero: they add nothing to a difference of S, since one of the two is zero.
        rows *= (included / mass.clamp(min=SMALLEST_MASS))[..., None]
    masses = rows.sum(-1) @ included.T
    # Most entries are above the diagonal, outside the window or the dropped key: nobody attends there.
    entries = rows.flatten(1)
    entries = entries[:, (entries > 0).any(0)]
    entropy = entropy_terms(entries).sum(-1)
    i, j = torch.triu_indices(len(entries), len(entries), offset=1, device=entries.device)
    at_once = rows_at_once(1, entries.shape[1], entries.device)
    parts = zip(i.split(at_once), j.split(at_once), strict=True)
    joint = torch.cat([entropy_terms(entries[a] + entries[b]).sum(-1) for a, b in parts])
    return (joint - entropy[i] - entropy[j]) / math.log(2) + masses[i, j] + masses[j, i]
