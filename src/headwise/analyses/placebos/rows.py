"""The table of tests of placebos."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from headwise.analyses.effects.rows import OfArm
from headwise.tables.row import column


class Against(StrEnum):
    """What a placebo is set against."""

    PLACEBO = "placebo"
    BASE = "base"


@dataclass(frozen=True, kw_only=True)
class PlaceboRow(OfArm):
    """How often a test rejects for placebos of one arm, with nothing to find, and with an effect put in."""

    table: ClassVar[str] = "placebo_tests"
    in_results: ClassVar[bool] = True
    base: str = column("Base model of the placebos")
    against: Against = column(
        "placebo: another placebo of the arm, by a sign flip over refits, a test per pair; base: by a label swap over "
        "prompts, a test per placebo and refit"
    )
    injected: float = column("Added to every difference, in the estimator's units; 0: nothing")
    deviations: float = column(
        "The same in standard deviations of placebo − placebo over refits", heading="In deviations"
    )
    tests: int = column("Tests")
    rejected: int | None = column("How many of them reject at the level; null: none can be made", default=None)
    promised: float | None = column(
        "The largest share that an exact test rejects where there is nothing to find; null: no promise", default=None
    )
    units: int = column("Units of a test: refits or prompts")
