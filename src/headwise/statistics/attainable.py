"""The smallest p that a permutation test of so many units can give, and up to how many it enumerates all arrangements.

Nothing heavy is imported here: study files are checked by it.
"""

from math import comb

EXACT_UNITS = 20  # paired units up to which all sign patterns are enumerated
EXACT_ARRANGEMENTS = 2**19  # ways of splitting two samples up to which all are enumerated


def of_sign_flips(n: int, resamples: int) -> float:
    """Of a two-sided test that flips the signs of n units; a pattern and its mirror image are as extreme."""
    return min(1.0, _limited(2.0 ** (1 - n), n <= EXACT_UNITS, resamples))


def of_splits(n: int, m: int, resamples: int) -> float:
    """Of a two-sided test that splits n + m units into two samples: those of equal size can change places."""
    splits = comb(n + m, n)
    return min(1.0, _limited((2 if n == m else 1) / splits, splits <= EXACT_ARRANGEMENTS, resamples))


def _limited(smallest: float, exact: bool, resamples: int) -> float:
    """A p of resamples is (b + 1) / (resamples + 1) (Phipson & Smyth 2010)."""
    return smallest if exact else max(smallest, 1 / (resamples + 1))
