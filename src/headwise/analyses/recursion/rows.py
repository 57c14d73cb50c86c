"""The tables of recursive generation: what one refit of an arm writes, and what all arms come to."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from headwise.report.rows import IS_OUT_OF_BAND, REASON
from headwise.statistics.procedures import Procedure
from headwise.tables.row import Row, column


class Unit(StrEnum):
    """What is counted: refits of an arm, or chains within one refit."""

    REFIT = "refit"
    CHAIN = "chain"


@dataclass(frozen=True, kw_only=True)
class Generation(Row):
    """What one chain wrote in one generation; `degradation` defines its measures."""

    table: ClassVar[str] = "generations"
    prompt: str = column("Prompt that the chain began with")
    generation: int = column("Generation, from 1")
    tokens: int = column("Tokens that it wrote")
    distinct_1: float | None = column("Share of different tokens", default=None)
    distinct_2: float | None = column("Share of different bigrams", default=None)
    longest_repeated_span: int = column("Longest span that occurs twice", unit="tokens")
    repeated_share: float | None = column("That span over the longest possible", default=None)
    similarity: float | None = column(
        "Share of bigrams in common with the generation before; of the first generation, with the prompt", default=None
    )
    nll_nats: float | None = column(
        "Mean negative ln p of what was written, at temperature 1", unit="nats per token", default=None
    )
    degraded: bool | None = column("Whether it is degraded by the declared criterion", default=None)
    text: str = column("What was written")
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class GenerationSpecialization(Row):
    """An estimator on what all chains of an arm wrote in one generation, read as prompts."""

    table: ClassVar[str] = "specialization"
    generation: int = column("Generation; 0: the prompts")
    estimator: str = column("Estimator of specialization on what was written, all keys kept")
    chains: int = column("Chains that wrote at least two tokens")
    value: float | None = column("Its value", default=None)
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class OfRefit(Row):
    """One refit of an arm."""

    arm: str = column("Name of the arm in the study file")
    seed: int = column("Refit of its model, which also seeds sampling")


@dataclass(frozen=True, kw_only=True)
class OfArm(Row):
    """One refit of an arm, or all of them together."""

    arm: str = column("Name of the arm in the study file")
    seed: int | None = column("Refit of its model; null: chains of all refits together", default=None)


@dataclass(frozen=True, kw_only=True)
class RecursionGeneration(OfRefit):
    """What a generation of an arm is like: means over the chains of a refit."""

    table: ClassVar[str] = "recursion_generations"
    generation: int = column("Generation, from 1")
    tokens: float = column("Mean tokens that a chain wrote")
    distinct_1: float | None = column("Mean share of different tokens", default=None)
    distinct_2: float | None = column(
        "Mean share of different bigrams", heading="Different bigrams (share)", default=None
    )
    longest_repeated_span: float = column("Mean longest span of tokens that occurs twice", unit="tokens")
    repeated_share: float | None = column(
        "Mean of that span over the longest possible", heading="Longest repeated span (share)", default=None
    )
    similarity: float | None = column(
        "Mean share of bigrams in common with the generation before",
        heading="Bigrams shared with the generation before",
        default=None,
    )
    nll_nats: float | None = column(
        "Mean negative ln p of what was written",
        unit="nats per token",
        heading="Negative ln p per token (nats)",
        default=None,
    )
    degraded: float | None = column("Share of chains that are degraded by the declared criterion", default=None)
    chains: int = column("Chains that wrote in this generation or ended in it")
    undefined: int = column("Values that chains did not have; they are in no mean")


@dataclass(frozen=True, kw_only=True)
class RecursionSpecialization(GenerationSpecialization, OfRefit):
    """An estimator on what all chains of a refit of an arm wrote in one generation."""

    table: ClassVar[str] = "recursion_specialization"


@dataclass(frozen=True, kw_only=True)
class RecursionSurvival(OfArm):
    """A step of a Kaplan–Meier curve: the share of chains that are not degraded, from one generation on."""

    table: ClassVar[str] = "recursion_survival"
    chains: int = column("Chains")
    generation: int = column("Generation from which on the share holds")
    survival: float = column("Share of chains that are not degraded (Kaplan–Meier)")
    ci_low: float | None = column("Lower end of the confidence interval", default=None)
    ci_high: float | None = column("Upper end of the confidence interval", default=None)
    at_risk: int = column("Chains not degraded just before")
    events: int = column("Chains whose degradation began here")
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class Lasting(OfArm):
    """How long the chains of an arm, or of one of its refits, last."""

    mean_generations: float | None = column(
        "Restricted mean of the generations until degradation began", heading="Mean onset", default=None
    )
    ci_low: float | None = column("Lower end of the confidence interval", default=None)
    ci_high: float | None = column("Upper end of the confidence interval", default=None)
    n: int = column("Number of units")
    unit: Unit = column("What is counted: refit over all seeds, chain within one")
    horizon: int = column("Last generation at which degradation could begin")
    chains: int = column("Chains")
    degraded_chains: int = column("Chains that degraded; the others are censored")
    ended_chains: int = column(
        "Chains that ended undegraded, with a generation below two tokens; censored there", heading="Ended chains"
    )
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class ArmDifference(Row):
    """How much longer the chains of an arm last than those of another; refits are the units."""

    difference: float | None = column(
        "Restricted mean less that of the reference, refits as units",
        unit="generations",
        heading="Against the first arm",
        default=None,
    )
    difference_low: float | None = column("Lower end of its confidence interval", default=None)
    difference_high: float | None = column("Upper end of its confidence interval", default=None)
    p: float | None = column("Two-sided p of one test", heading="p", default=None)
    p_attainable: float | None = column("The smallest p that this design can give", heading="Smallest p", default=None)
    procedure: Procedure | None = column("Procedure behind p, as calibration names it", default=None)
    test: str | None = column("How p was made", default=None)


@dataclass(frozen=True, kw_only=True)
class RecursionDuration(ArmDifference, Lasting):
    """How long the chains of an arm last, and how much longer than those of the first arm."""

    table: ClassVar[str] = "recursion_durations"
    in_results: ClassVar[bool] = True
    out_of_band: bool | None = column(IS_OUT_OF_BAND, default=None)
    reference: str | None = column("Arm that it is compared with", default=None)


# The finished tables, which stand in the report.
TABLES: tuple[type[Row], ...] = (
    RecursionGeneration,
    RecursionSpecialization,
    RecursionSurvival,
    RecursionDuration,
)
