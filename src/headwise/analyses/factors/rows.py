"""The table of factors."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from headwise.report.rows import IS_OUT_OF_BAND
from headwise.tables.row import Row, column


class Quantity(StrEnum):
    """What a row is about."""

    EFFECT = "effect"
    SHARE = "share"
    EXPLAINED = "explained"
    ORDER = "order"


class Outcome(StrEnum):
    """What is decomposed."""

    EFFECT = "effect"
    CHANGE = "change"
    LEVEL = "level"


class Design(StrEnum):
    """Who switched the factors."""

    BY_DESIGN = "by design"
    DESCRIPTIVE = "descriptive"


@dataclass(frozen=True, kw_only=True)
class FactorRow(Row):
    """An effect of a level, a factor's share of the variance, or the order of these shares, for one estimator."""

    table: ClassVar[str] = "factors"
    in_results: ClassVar[bool] = True
    outcome: Outcome = column(
        "What is decomposed. effect: arm − placebo; change: aligned model − base, where the study makes no placebo; "
        "level: the value of each model",
        heading="Of",
    )
    estimator: str = column("Estimator of specialization")
    sink: str = column("kept: all keys")
    quantity: Quantity = column(
        "effect: of a level against the reference level, in the estimator's units (of scale: per tenfold layers × "
        "width²); share: of the variance; explained: share of all factors; order: of the shares"
    )
    factor: str = column("training, data, window, attention, scale; all; for order the factors by falling share")
    level: str | None = column("Level in question, of an effect", default=None)
    reference_level: str | None = column("Level that it is compared with", heading="Against", default=None)
    estimate: float | None = column(
        "Effect in the estimator's units; share; for order the share of resamples with it",
        heading="Effect",
        default=None,
    )
    ci_low: float | None = column("Lower end of the confidence interval", default=None)
    ci_high: float | None = column("Upper end of the confidence interval", default=None)
    p: float | None = column("p of the factor, given the others", heading="p of the factor", default=None)
    p_attainable: float | None = column("The smallest p that the number of permutations can give", default=None)
    by_chance: float | None = column(
        "Mean share when values are shuffled over models", heading="By chance", default=None
    )
    distinguishable: bool | None = column("Whether an order can be told from chance", default=None)
    claimed: bool | None = column("Whether an order is the claimed one, of the factors in both", default=None)
    n: int = column("Models and refits; of effects and changes the pairs of them")
    clusters: int = column("Refits of bases, drawn whole with their descendants")
    design: Design = column("by design: the study made all models; descriptive: others made some")
    method: str = column("How interval and p were made")
    out_of_band: bool | None = column(IS_OUT_OF_BAND, default=None)
    reason: str | None = column("Why something is undefined or must be read with care", heading="Remark", default=None)
