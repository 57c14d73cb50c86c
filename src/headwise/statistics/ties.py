"""When computed numbers are equal: one tolerance for every comparison that decides on a statistic.

Numbers that are equal in exact arithmetic differ by rounding once they are computed. Everything that counts
arrangements "at least as extreme", breaks or finds ties, or asks whether something varies at all uses what stands here.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from headwise.statistics.arrays import FloatArray

Size = TypeVar("Size", float, FloatArray)


# A sum of n values is off by at most n × 2⁻⁵³ of its largest terms' sum (Higham 2002, section 4.2), a value that was
# typed in, or is a difference of two others, by more: the least tolerance leaves room for both, and is far below any
# difference of interest.
LEAST_TOLERANCE = 2.0**-40
PER_VALUE = 2.0**-51
# Of two numbers of size 1, such as shares, correlations, cosines, and indices of specialization.
OF_ONE = LEAST_TOLERANCE
# Beyond 2 to the power of ± this, squares and cubes of numbers and sums of them could leave the range of float64.
SAFE_EXPONENT = 250


def tolerance(size: Size, n: int = 1) -> Size:
    """Largest distance of two equal numbers that come from n values of absolute size up to `size`; same shape."""
    return size * max(LEAST_TOLERANCE, n * PER_VALUE)


def largest(*samples: npt.ArrayLike) -> float:
    """Largest absolute value of all samples; 0 where there is none."""
    return max((float(np.abs(sample).max()) for sample in map(np.asarray, samples) if sample.size), default=0.0)


def is_constant(sample: FloatArray) -> bool:
    """Whether the numbers of a non-empty sample, all finite, are equal but for rounding."""
    low, high = float(sample.min()), float(sample.max())
    # Halves: the distance of two large numbers may be beyond float64.
    return high / 2 - low / 2 <= tolerance(max(abs(low), abs(high)), len(sample)) / 2


def snapped(value: float, *samples: FloatArray) -> float:
    """A sum, mean or difference of means of finite samples; exactly 0 where it is 0 but for rounding."""
    count = sum(map(len, samples))
    return 0.0 if abs(value) <= tolerance(largest(*samples), count) else value


def difference(one: FloatArray, other: FloatArray) -> FloatArray:
    """one − other, exactly 0 where they are equal but for rounding; NaN where one is."""
    found = np.subtract(one, other, dtype=np.float64)
    return np.where(np.abs(found) <= tolerance(np.maximum(np.abs(one), np.abs(other))), 0.0, found)


def merged(values: FloatArray) -> FloatArray:
    """The values, each replaced by the least of those that are equal to it but for rounding: for ranks and counts.

    values: (n,), finite. Here the size of a number is its own: one huge value makes no ties among small ones.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    sizes = np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1]))
    with np.errstate(over="ignore"):
        first = np.concatenate([np.ones(min(1, len(values)), dtype=bool), np.diff(ordered) > tolerance(sizes)])
    found = np.empty_like(ordered)
    found[order] = ordered[first][np.cumsum(first) - 1]
    return found


def rescaled(*samples: FloatArray) -> tuple[list[FloatArray], int]:
    """Samples divided by a common power of two, and its exponent, where squares of them would leave float64's range.

    As they are, with an exponent of 0, where that is not so. Multiplication by powers of two does not round.
    """
    size = largest(*samples)
    exponent = int(np.frexp(size)[1]) if size else 0
    if abs(exponent) <= SAFE_EXPONENT:
        return list(samples), 0
    return [np.ldexp(sample, -exponent) for sample in samples], exponent


def restored(value: float, exponent: int) -> float:
    """A number computed from rescaled samples in their own units; infinite where that is beyond float64."""
    if not exponent:
        return float(value)
    with np.errstate(over="ignore", under="ignore"):
        return float(np.ldexp(value, exponent))
