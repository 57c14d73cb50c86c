"""What an analysis found about one number: estimate, interval, test, and how each was made, as one sentence."""

from dataclasses import dataclass
from math import isfinite

import numpy as np

# Settings of an analysis, which say nothing about its outcome.
SETTINGS = ("level", "margin")


class Defined:
    """A frozen dataclass of results in which no number is NaN or infinite.

    Where one is, such as an interval of numbers whose errors leave the range of float64, nothing that was computed with
    it is a result: the number and all others but a finite estimate are None, and `reason` says why.
    """

    reason: str | None

    def __post_init__(self) -> None:
        numbers = [name for name, value in vars(self).items() if isinstance(value, float) and name not in SETTINGS]
        lost = [name for name in numbers if not isfinite(getattr(self, name))]
        if not lost:
            return
        for name in numbers:
            if name != "estimate" or "estimate" in lost:
                object.__setattr__(self, name, None)
        why = f"not finite, beyond the range of numbers: {', '.join(lost)}"
        object.__setattr__(self, "reason", joined(self.reason, why))


@dataclass(frozen=True)
class Result(Defined):
    """An estimate with its interval and its test; the fields are those of `Interval` and `PermutationTest` together.

    name          what was estimated, in words
    estimate      in the units of the statistic; None where it is undefined
    low, high     ends of the two-sided interval; None where there is none
    level         the interval covers 1 − level
    p             two-sided p-value; None where there is nothing to test
    p_attainable  smallest p-value that this design can give, 0 where it has no limit; None where there is no test
    n             units
    method        interval and test in words
    n_reference   units of the second sample; None where there is one sample
    reason        why something is undefined, or must be read with care; None where all is well
    """

    name: str
    estimate: float | None
    low: float | None
    high: float | None
    level: float
    p: float | None
    p_attainable: float | None
    n: int
    method: str
    n_reference: int | None = None
    reason: str | None = None

    def __str__(self) -> str:
        made = how(self.method, self.n, self.reason, self.n_reference)
        if self.estimate is None:
            return f"{self.name} is undefined {made}"
        parts = [f"{self.name} {self.estimate:.4g}"]
        if self.low is not None:
            parts.append(f"{100 * (1 - self.level):g} % interval {self.low:.4g} to {self.high:.4g}")
        if self.p is not None:
            smallest = "" if not self.p_attainable else f" (smallest attainable {self.p_attainable:.3g})"
            parts.append(f"p = {self.p:.3g}{smallest}")
        return f"{', '.join(parts)} {made}"


def how(method: str, n: int, reason: str | None, n_reference: int | None = None, more: str = "") -> str:
    """How a result was made, of how many units, and what must be said of it: the end of a sentence."""
    size = f"n = {n}" if n_reference is None else f"n = {n} against {n_reference}"
    return f"({method}, {size}{more}){f': {reason}' if reason else ''}."


def joined(*reasons: str | None) -> str | None:
    """What there is to say, each thing once; None where there is nothing."""
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason)) or None


def finite_or_none(value: float) -> float | None:
    """The number, or None where it is not finite."""
    return float(value) if np.isfinite(value) else None
