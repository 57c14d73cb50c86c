"""Stability of heads across refits, commonness within a refit, and where in the other refit the best match lies.

Definitions: Bali et al. (2026), sections 4.1 to 4.3, and the code released with it. Each as published, and corrected.
"""

import numpy as np

from headwise.analyses.stability.cosines import AcrossLayers
from headwise.analyses.stability.matching import IntArray, best_match, one_to_one
from headwise.statistics.arrays import FloatArray

ANCHOR = 0  # the published estimators start from one refit, the first


def published_stability(same_layer: FloatArray) -> FloatArray:
    """S of each head of the anchor as published: (L, H) from cosines (R, R, L, H, H).

    For each other refit the largest cosine with any head of the same layer, of the mean over prompts; two heads may
    have the same partner. Then the mean over the other refits.
    """
    best, _ = best_match(np.delete(same_layer[ANCHOR], ANCHOR, axis=0))
    return best.mean(axis=0)


def matched_stability(same_layer: FloatArray) -> FloatArray:
    """Cosine of each head with its partner in each other refit, one-to-one: (R, R, L, H), NaN with itself."""
    refits, _, layers, heads, _ = same_layer.shape
    matched = np.full((refits, refits, layers, heads), np.nan)
    for one, two in zip(*np.triu_indices(refits, 1), strict=True):
        for layer in range(layers):
            values, partner = one_to_one(same_layer[one, two, layer])
            matched[one, two, layer] = values
            known = partner >= 0
            matched[two, one, layer, partner[known]] = values[known]
    return matched


def published_cross_layer(across: AcrossLayers) -> tuple[FloatArray, IntArray]:
    """Cross-layer stability of the anchor's heads, (L, H), and layer of origin, (R, L, H), as published.

    The origins include the anchor's matches with itself, all of which lie in their own layer.
    """
    best = np.delete(across.best[ANCHOR], ANCHOR, axis=0)
    return best.mean(axis=0), across.best_layer[ANCHOR]


def published_commonness(same_layer: FloatArray) -> FloatArray:
    """Mean cosine of each head of the anchor with the heads of its layer as published, itself included: (L, H)."""
    return same_layer[ANCHOR, ANCHOR].mean(axis=-1)


def commonness(same_layer: FloatArray) -> FloatArray:
    """Mean cosine of each head with the other heads of its layer, in each refit: (R, L, H); NaN for a single head."""
    refits, heads = len(same_layer), same_layer.shape[-1]
    own = same_layer[np.arange(refits), np.arange(refits)]
    others = ~np.eye(heads, dtype=bool)
    number = (np.isfinite(own) & others).sum(axis=-1)
    return np.where(others & np.isfinite(own), own, 0).sum(axis=-1) / np.where(number > 0, number, np.nan)
