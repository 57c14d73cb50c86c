"""Which head of one refit is which of another: greedy, as published, and one-to-one.

Bali et al. (2026) take for each head its best match, so that two heads may share one, and a refit with many alike heads
looks stable. One-to-one matching (the assignment problem, Kuhn 1955) uses each head of the other refit once.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from headwise.statistics.arrays import FloatArray
from headwise.statistics.ties import OF_ONE

IntArray = npt.NDArray[np.int64]


def best_match(cosines: FloatArray) -> tuple[FloatArray, IntArray]:
    """The largest cosine of each head and the head that has it: both (..., H) from cosines (..., H, candidates).

    The first of several that are equal but for rounding; NaN and −1 for a head whose cosines are all undefined.
    """
    filled = np.where(np.isnan(cosines), -np.inf, cosines)
    value = filled.max(-1)
    head = (filled >= value[..., None] - OF_ONE).argmax(-1)
    undefined = np.isneginf(value)
    return np.where(undefined, np.nan, value), np.where(undefined, -1, head)


def one_to_one(cosines: FloatArray) -> tuple[FloatArray, IntArray]:
    """The matching of two refits' heads with the largest sum of cosines: cosine and partner, (H,) from (H, H).

    A pair without a cosine is matched only where nothing else is left: NaN and −1 then.
    """
    undefined = np.isnan(cosines)
    # Worse than any cosine, even summed over all heads.
    filled = np.where(undefined, -2.0 * (len(cosines) + 1), cosines)
    rows, partner = linear_sum_assignment(filled, maximize=True)
    missing = undefined[rows, partner]
    return np.where(missing, np.nan, cosines[rows, partner]), np.where(missing, -1, partner)
