"""How often something happened in simulations, against how often it was promised to."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from headwise.statistics.procedures import Procedure
from headwise.tables.row import Row, column

OUTSIDE = 1e-3  # chance that a procedure which keeps its promise falls outside of its band


class Quantity(StrEnum):
    """What was counted in simulations."""

    REJECTION = "rejection"
    COVERAGE = "coverage"
    POWER = "power"


class Promise(StrEnum):
    """Whether a rate is to be met exactly or is a bound; none for power, and where an assumption is broken."""

    EXACTLY = "exactly"
    AT_MOST = "at most"
    AT_LEAST = "at least"
    NONE = "none"


class Kept(StrEnum):
    """Whether the found rate lies in the band of the promised one."""

    YES = "yes"
    NO = "no"
    NO_PROMISE = "no promise"


@dataclass(frozen=True, kw_only=True)
class Rate(Row):
    """How often a procedure rejected or covered in simulations, and how often it was promised to."""

    table: ClassVar[str] = "calibration"
    in_results: ClassVar[bool] = True
    procedure: Procedure = column("Test or interval")
    quantity: Quantity = column("rejection: of a true null; coverage: of the truth; power: rejection of a false null")
    scenario: str = column("How the data were simulated")
    effect: float = column("In standard deviations of a unit's difference; 0 under the null")
    units: str = column("How many of what")
    simulations: int = column("Data sets for which the procedure gave a result")
    found: float | None = column("Share of them", default=None)
    expected: float | None = column("The share that is promised; null for power", heading="Promised", default=None)
    promise: Promise = column("exactly, at most, at least; none where the scenario breaks an assumption, and for power")
    band_low: float | None = column(
        "Lower end of the exact binomial band of found shares, which a procedure that keeps its promise leaves once in "
        "a thousand times",
        default=None,
    )
    band_high: float | None = column("Upper end of that band", default=None)
    kept: Kept = column("yes, no, or no promise", heading="Verdict")
    reason: str | None = column("What is special", heading="Remark", default=None)


def rate(
    hits: npt.ArrayLike,
    expected: float | None,
    promise: Promise,
    *,
    procedure: Procedure,
    quantity: Quantity,
    scenario: str,
    units: str,
    effect: float = 0.0,
    reason: str | None = None,
) -> Rate:
    """The rate of hits (one per simulation: 1, 0, or NaN without a result) with its exact binomial band."""
    from scipy.stats import binom

    outcomes = np.asarray(hits, dtype=np.float64)
    outcomes = outcomes[np.isfinite(outcomes)]
    n = len(outcomes)
    found = float(outcomes.mean()) if n else None
    low = high = None
    kept = Kept.NO_PROMISE
    if expected is not None and promise != Promise.NONE and found is not None:
        low, high = (float(end) / n for end in binom.interval(1 - OUTSIDE, n, expected))
        low = 0.0 if promise == Promise.AT_MOST else low
        high = 1.0 if promise == Promise.AT_LEAST else high
        kept = Kept.YES if low <= found <= high else Kept.NO
    return Rate(
        procedure=procedure,
        quantity=quantity,
        scenario=scenario,
        effect=effect,
        units=units,
        simulations=n,
        found=found,
        expected=expected,
        promise=promise,
        band_low=low,
        band_high=high,
        kept=kept,
        reason=reason if n or reason else "the design is too small for the procedure",
    )
