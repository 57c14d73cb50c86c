"""p-values adjusted for the number of tests."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Adjustment:
    """p-values adjusted for multiplicity.

    p         (n,) float64, adjusted p-values in the order given; NaN where the input was undefined
    rejected  (n,) bool, adjusted p-value at most `level`; False where it is undefined
    tests     how many tests were adjusted for: the defined ones
    level     the level of the family of tests
    method    the adjustment in words
    """

    p: npt.NDArray[np.float64]
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
    return _adjust(p_values, level, "holm", "Holm")


def benjamini_hochberg(p_values: npt.ArrayLike, level: float = 0.05) -> Adjustment:
    """Control the expected share of false rejections among rejections (Benjamini & Hochberg 1995).

    p_values  (n,) within 0…1; NaN or None for a test that could not be made, which then does not count as one
    """
    return _adjust(p_values, level, "fdr_bh", "Benjamini–Hochberg")


def _adjust(p_values: npt.ArrayLike, level: float, code: str, method: str) -> Adjustment:
    from statsmodels.stats.multitest import multipletests

    values = np.asarray(p_values, dtype=np.float64)
    defined = ~np.isnan(values)
    if np.any((values[defined] < 0) | (values[defined] > 1)):
        wrong = values[defined & ((values < 0) | (values > 1))][0]
        raise ValueError(f"{wrong} is not a p-value: give numbers within 0…1, NaN where there is none")
    adjusted = np.full(len(values), np.nan)
    if defined.any():
        adjusted[defined] = multipletests(values[defined], alpha=level, method=code)[1]
    return Adjustment(adjusted, defined & (adjusted <= level), int(defined.sum()), level, method)
