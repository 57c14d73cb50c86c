"""How often something happened in simulations, against how often it was promised to."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from headwise.statistics.ties import tolerance

# Procedures behind the p-values of the study's tables.
PROMPTS, DOMAINS = "label swap over prompts", "label swap over prompt domains"
REFITS, FAMILIES = "sign flip over refits", "sign flip over families"
TWO_SAMPLES, RANDOM_EFFECTS = "two samples of refits", "random effects over families"
EQUIVALENCE, ROC_AREA = "equivalence over prompt domains", "ROC area"
FACTOR, CORRELATION = "share of a factor", "correlation over layers"
CONFIRMATORY_SET, BY_LAYER = "Holm over the confirmatory set", "Benjamini–Hochberg over layers"

OUTSIDE = 1e-3  # chance that a procedure which keeps its promise falls outside of its band
Quantity = Literal["rejection", "coverage", "power"]
Promise = Literal["exactly", "at most", "at least", "none"]


@dataclass(frozen=True)
class Rate:
    """One row of the calibration table.

    procedure    name of the test or interval, in words
    quantity     "rejection" of a true null at the level of the study; "coverage" of the truth; "power": rejection
                 where there is an effect
    scenario     how the data were simulated
    effect       in standard deviations of a unit's difference; 0 under the null
    units        how many of what, in words
    simulations  data sets for which the procedure gave a result
    found        share of them, within 0…1; None where there was never a result
    expected     the rate that is promised; None for power
    promise      whether the rate is to be met exactly, or is a bound; "none" where the scenario breaks an assumption
                 of the procedure, or for power
    band_low     the exact binomial band of found rates, which a procedure that keeps its promise leaves once in a
    band_high    thousand times; None where nothing is promised
    kept         "yes", "no", or "no promise"
    reason       what is special; None where nothing is
    """

    procedure: str
    quantity: Quantity
    scenario: str
    effect: float
    units: str
    simulations: int
    found: float | None
    expected: float | None
    promise: Promise
    band_low: float | None
    band_high: float | None
    kept: str
    reason: str | None = None


def rate(
    hits: npt.ArrayLike,
    expected: float | None,
    promise: Promise,
    *,
    procedure: str,
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
    kept = "no promise"
    if expected is not None and promise != "none" and found is not None:
        low, high = (float(end) / n for end in binom.interval(1 - OUTSIDE, n, expected))
        low, high = (0.0 if promise == "at most" else low), (1.0 if promise == "at least" else high)
        kept = "yes" if low <= found <= high else "no"
    return Rate(
        procedure, quantity, scenario, effect, units, n, found, expected, promise, low, high, kept,
        reason if n or reason else "the design is too small for the procedure",
    )  # fmt: skip


def attainable_level(smallest: float, level: float) -> float:
    """The largest level, at most `level`, at which an exact test whose p-values are multiples of `smallest` rejects."""
    multiples = level / smallest
    return float(np.floor(multiples + tolerance(multiples)) * smallest)
