"""The tables of effects: what alignment does beyond its placebo."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from headwise.report.rows import IS_OUT_OF_BAND, REASON, OfEstimator
from headwise.statistics.procedures import Procedure
from headwise.tables.row import Row, column


class Quantity(StrEnum):
    """What is averaged over refits."""

    EFFECT = "effect"
    ARM = "arm"
    PLACEBO = "placebo"
    LARGER = "larger change"


@dataclass(frozen=True, kw_only=True)
class OfArm(OfEstimator):
    """An arm of alignment."""

    method: str = column("How the arm was aligned; its placebo had the same steps", heading="Method")
    dose: int = column("Steps of the optimiser, in multiples of those of the method", heading="Dose")


@dataclass(frozen=True, kw_only=True)
class RefitEffect(OfArm):
    """What an arm and its placebo did to an estimator in one refit of a base."""

    table: ClassVar[str] = "effect_refits"
    base: str = column("Base model that both were made from")
    arm: str = column("Name of the arm")
    placebo: str = column("Name of its placebo")
    seed: int = column("Refit")
    base_value: float | None = column("Value of the base", default=None)
    arm_change: float | None = column("Arm − base", default=None)
    placebo_change: float | None = column("Placebo − base", default=None)
    effect: float | None = column("Arm − placebo: what alignment does beyond its placebo", default=None)


@dataclass(frozen=True, kw_only=True)
class EffectRow(OfArm):
    """A mean over refits, with its interval and test; exploratory."""

    table: ClassVar[str] = "effects"
    in_results: ClassVar[bool] = True
    quantity: Quantity = column(
        "effect: arm − placebo; arm: arm − base; placebo: placebo − base; larger change: |arm − base| − "
        "|placebo − base|, whether alignment moves more than its placebo, whatever the sign"
    )
    group: str = column("Base model; all: refits of all bases", heading="Base")
    reference: str | None = column("Base whose refits are subtracted; null: none", default=None)
    estimate: float | None = column("Mean over refits; of two bases the difference", heading="Mean", default=None)
    ci_low: float | None = column("Lower end of Student's or Welch's interval over refits", default=None)
    ci_high: float | None = column("Upper end", default=None)
    deviation: float | None = column("Standard deviation over refits", heading="Deviation", default=None)
    p: float | None = column("Two-sided p of a permutation test over refits", heading="p", default=None)
    p_attainable: float | None = column("The smallest p that this design can give", heading="Smallest p", default=None)
    p_adjusted: float | None = column(
        "p adjusted over the rows of one quantity and estimator (Benjamini–Hochberg)",
        heading="Adjusted p",
        default=None,
    )
    procedure: Procedure = column("Procedure behind p, as calibration names it")
    out_of_band: bool | None = column(IS_OUT_OF_BAND, default=None)
    n: int = column("Refits", heading="Refits")
    n_reference: int | None = column("Refits of the reference", default=None)
    test: str = column("How p and interval were made")
    reason: str | None = column(REASON, default=None)


# Column of `RefitEffect` that a quantity is the mean of.
COLUMNS = {Quantity.EFFECT: "effect", Quantity.ARM: "arm_change", Quantity.PLACEBO: "placebo_change"}
TABLES: tuple[type[Row], ...] = (RefitEffect, EffectRow)
