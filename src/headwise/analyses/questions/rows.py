"""The table of answers."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from headwise.analyses.noise.settings import Site
from headwise.analyses.questions.settings import Ask, Claim
from headwise.report.rows import IS_OUT_OF_BAND, REASON, Answer
from headwise.statistics.procedures import Procedure
from headwise.tables.row import Row, column


class Estimand(StrEnum):
    """What the estimate is."""

    ESTIMATOR = "estimator"
    LOG_RATIO = "log ratio"
    AGREEMENT = "share of what chance leaves"


@dataclass(frozen=True, kw_only=True)
class Asked(Row):
    """A question, as the study file declares it."""

    question: str = column("Name of the question", heading="Question")
    title: str = column("The question in words; empty: made from the other fields")
    ask: Ask = column("What it is about")
    method: str | None = column("Method of alignment", default=None)
    dose: int | None = column("Dose of the arm", default=None)
    group: str | None = column("Base model in question", default=None)
    reference: str | None = column("Base model that it is compared with", default=None)
    site: Site | None = column("Where noise is added", default=None)
    claim: Claim = column("What yes means: any difference, or one of this sign")


@dataclass(frozen=True, kw_only=True)
class AnswerRow(Asked):
    """A question and its answer."""

    table: ClassVar[str] = "answers"
    in_results: ClassVar[bool] = True
    answer: Answer = column(
        "yes; no: the other sign; equivalent to nothing: within the margin; undecided", heading="Answer"
    )
    estimand: Estimand = column("What the estimate is: a change of the primary estimator, ln of a ratio, or a share")
    estimate: float | None = column("Mean over refits, difference of means, or ln of a ratio", default=None)
    ci_low: float | None = column("Lower end of its interval, which covers 1 − level", default=None)
    ci_high: float | None = column("Upper end of it", default=None)
    n: int = column("Units")
    n_reference: int | None = column("Units of the reference", default=None)
    unit: str = column("What is counted: refit or family")
    test: str = column("How p and interval were made")
    confirmatory: bool = column("Whether its test belongs to the declared set, and the declaration stands")
    p: float | None = column("Two-sided p of its test; null: answered by the interval", default=None)
    p_attainable: float | None = column("The smallest p that this design can give", default=None)
    p_adjusted: float | None = column("p adjusted over the declared set (Holm)", default=None)
    tests: int = column("Tests in the declared set")
    margin: float | None = column("Largest difference that is equivalent to nothing, as declared", default=None)
    within_low: float | None = column(
        "The estimate is equivalent to nothing where the interval from here", default=None
    )
    within_high: float | None = column("to here lies within the margin: it covers 1 − 2 × level / tests", default=None)
    units_needed: int | None = column(
        "Of an undecided question: units, of each sample, that decide it with a power of 0.8 if what was found is "
        "true, or nothing is",
        default=None,
    )
    deviation: float | None = column("Standard deviation of the units, of two samples pooled", default=None)
    power: float | None = column("Power of its test, in this design, if what was found is true", default=None)
    published: float | None = column("Effect that was published, in the units of the estimate", default=None)
    power_published: float | None = column("Power of its test, in this design, at the published effect", default=None)
    alone: float | None = column("What is there without what is asked: the placebo's change, or chance", default=None)
    procedure: Procedure | None = column("Procedure behind p, as calibration names it; null: no test", default=None)
    out_of_band: bool | None = column(IS_OUT_OF_BAND, default=None)
    reason: str | None = column(REASON, default=None)
