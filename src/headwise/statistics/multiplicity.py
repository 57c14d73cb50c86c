"""p-values adjusted for the number of tests.

statsmodels has both methods; its function collects garbage at every call, which takes a tenth of a second.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headwise.statistics.arrays import FloatArray
from headwise.statistics.ties import tolerance
from headwise.statistics.values import numbers


@dataclass(frozen=True, eq=False)
class Adjustment:
    """p-values adjusted for multiplicity.

    p         (n,) float64, adjusted p-values in the order given; NaN where the input was undefined
    rejected  (n,) bool, adjusted p-value at most `level`; False where it is undefined
    tests     how many tests were adjusted for: the defined ones
    level     the level of the family of tests
    method    the adjustment in words
    """

    p: FloatArray
    rejected: npt.NDArray[np.bool_]
    tests: int
    level: float
    method: str

    def __str__(self) -> str:
        undefined = len(self.p) - self.tests
        rest = f"; {undefined} undefined, left out" if undefined else ""
        found = int(self.rejected.sum())
        return f"{found} of {self.tests} tests significant at {self.level:g} ({self.method}{rest})."


def holm(p_values: npt.ArrayLike, level: float = 0.05) -> Adjustment:
    """Control the chance of any false rejection (Holm 1979).

    p_values  (n,) within 0…1; NaN or None for a test that could not be made, which then does not count as one
    """

    def stepwise(ordered: FloatArray) -> FloatArray:
        return np.maximum.accumulate(ordered * np.arange(len(ordered), 0, -1))

    return _adjust(p_values, level, stepwise, "Holm")


def benjamini_hochberg(p_values: npt.ArrayLike, level: float = 0.05) -> Adjustment:
    """Control the expected share of false rejections among rejections (Benjamini & Hochberg 1995).

    p_values  (n,) within 0…1; NaN or None for a test that could not be made, which then does not count as one
    """

    def stepwise(ordered: FloatArray) -> FloatArray:
        scaled = ordered / (np.arange(1, len(ordered) + 1) / len(ordered))
        return np.minimum.accumulate(scaled[::-1])[::-1]

    return _adjust(p_values, level, stepwise, "Benjamini–Hochberg")


def _adjust(
    p_values: npt.ArrayLike, level: float, stepwise: Callable[[FloatArray], FloatArray], method: str
) -> Adjustment:
    """Adjust the defined p-values; `stepwise` maps them in rising order to adjusted ones, which may exceed 1."""
    values = numbers(p_values, "p-values")
    defined = ~np.isnan(values)
    tested = values[defined]
    if np.any((tested < 0) | (tested > 1)):
        wrong = tested[(tested < 0) | (tested > 1)][0]
        raise ValueError(f"{wrong} is not a p-value: give numbers within 0…1, NaN where there is none")
    order = np.argsort(tested, kind="stable")
    ranked = np.empty(len(tested))
    ranked[order] = stepwise(tested[order]).clip(max=1.0)
    # A p-value that is the level but for rounding is the level, wherever it is compared.
    ranked[np.abs(ranked - level) <= tolerance(level, len(tested))] = level
    adjusted = np.full(len(values), np.nan)
    adjusted[defined] = ranked
    return Adjustment(adjusted, defined & (adjusted <= level), int(defined.sum()), level, method)
