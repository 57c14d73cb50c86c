"""The tables of noise, duplicated heads and the probe: what one refit of a base leaves, and what all come to."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from headwise.analyses.noise.settings import Region, Scale, Site
from headwise.report.rows import IS_OUT_OF_BAND, REASON
from headwise.statistics.procedures import Procedure
from headwise.statistics.ratio_verdict import RatioVerdict
from headwise.tables.row import Row, column


class Heads(StrEnum):
    """A model as made, or its twin, in which each query head has its own copy of its key and value head."""

    AS_MADE = "as made"
    DUPLICATED = "duplicated"


class Experiment(StrEnum):
    """What estimators were measured for: noise of several doses, or the probe's one dose."""

    NOISE = "noise"
    PROBE = "probe"


class Unit(StrEnum):
    """What is counted: refits, or draws of the noise where all seeds have the same weights."""

    REFIT = "refit"
    DRAW = "draw"


class Kind(StrEnum):
    """What a model is compared with: another base, or itself as made."""

    ARCHITECTURE = "architecture"
    DUPLICATION = "duplication"


class Task(StrEnum):
    """What a response is to tell apart."""

    ALIGNED = "aligned against base"
    SUPPRESSED = "fell under alignment against others"


class Reading(StrEnum):
    """What the published thresholds call a response."""

    SUPPRESSED = "suppressed"
    BETWEEN = "between stable and suppressed"
    STABLE = "stable"
    OPTIMISED = "optimised"


# --- groups of columns ---


@dataclass(frozen=True, kw_only=True)
class OfModel(Row):
    """A model."""

    model: str = column("Name of the model in the study file", heading="Model")


@dataclass(frozen=True, kw_only=True)
class OfRefit(OfModel):
    """One refit of a model."""

    seed: int = column("Refit", heading="Refit")


@dataclass(frozen=True, kw_only=True)
class WithHeads(Row):
    """A model or its twin."""

    heads: Heads = column(
        "as made, or duplicated: each query head with its own copy of its key and value head", heading="Heads"
    )


@dataclass(frozen=True, kw_only=True)
class InCell(Row):
    """Where noise is added, and the unit of σ."""

    site: Site = column("Where noise is added", heading="Site")
    scale: Scale = column("Unit of σ: absolute, or relative to the RMS of each layer's clean activations", heading="σ")
    region: Region = column("Layers: all, or the early, middle or late third of the attention layers")


@dataclass(frozen=True, kw_only=True)
class AtDose(InCell):
    """One dose."""

    sigma: float = column("Standard deviation of the noise, in the unit that scale says", heading="σ")


@dataclass(frozen=True, kw_only=True)
class Response(AtDose):
    """The response of an estimator to a dose."""

    estimator: str = column("Estimator of specialization, all keys kept", heading="Estimator")
    clean: float | None = column("Its value without noise, on the prompts of this experiment", default=None)
    value: float | None = column("Its value under noise, mean over draws", default=None)
    change_percent: float | None = column("100 (value − clean) / |clean|", unit="per cent", default=None)
    draws: int = column("Draws of the noise")
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class TwinDifferences(Row):
    """What sets a model and its twin apart without noise: nothing but rounding, if duplicating does what it should."""

    largest_logit_difference: float = column("Largest absolute difference of logits on an excerpt", heading="Logits")
    largest_relative_logit_difference: float = column("The same over the largest absolute logit")
    largest_attention_difference: float = column(
        "Largest absolute difference of attention weights", heading="Attention"
    )
    perplexity_ratio: float = column("Perplexity on the excerpt with duplicated heads over that as made")


# --- what one refit leaves ---


@dataclass(frozen=True, kw_only=True)
class LossUnderNoise(AtDose, WithHeads, OfModel):
    """The loss of a model under one draw of one dose; null where that of an excerpt is not finite."""

    table: ClassVar[str] = "losses"
    draw: int = column("Draw of the noise")
    nll_nats: float | None = column("Mean loss over excerpts of held-out text", unit="nats per token", default=None)
    delta_nll_nats: float | None = column("Less that of the clean model", unit="nats per token", default=None)
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class SpecializationUnderNoise(AtDose, WithHeads, OfModel):
    """An estimator of a model under one draw of one dose, the first key kept."""

    table: ClassVar[str] = "specialization"
    experiment: Experiment = column("noise: several doses; probe: the one declared dose")
    draw: int = column("Draw of the noise")
    estimator: str = column("Estimator of specialization, all keys kept")
    clean: float | None = column("Its value without noise", default=None)
    value: float | None = column("Its value under noise", default=None)
    change_percent: float | None = column(
        "100 (value − clean) / |clean|; null where clean is 0 but for rounding", unit="per cent", default=None
    )
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class GeneratedText(WithHeads, OfModel):
    """What a model wrote after one prompt under one draw of one dose; its perplexity is exp(nll_nats)."""

    table: ClassVar[str] = "generated"
    sigma: float = column("Standard deviation of the noise, absolute, after all output projections")
    draw: int = column("Draw of the noise")
    prompt: str = column("Prompt that it wrote after")
    tokens: int = column("Tokens that it wrote")
    nll_nats: float | None = column(
        "Their mean negative ln p without noise; null where it wrote none, or where logits were not finite",
        unit="nats per token",
        default=None,
    )
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class Twin(TwinDifferences, OfModel):
    """A model and its twin with duplicated heads, compared without noise."""

    table: ClassVar[str] = "duplication"


# --- finished tables ---


@dataclass(frozen=True, kw_only=True)
class NoiseResponse(AtDose, WithHeads, OfModel):
    """The response of a model's loss to a dose, over units."""

    table: ClassVar[str] = "noise_response"
    delta_nll_nats: float | None = column(
        "Mean change of the loss on held-out text",
        unit="nats per token",
        heading="Change of the loss (nats per token)",
        default=None,
    )
    ci_low: float | None = column("Lower end of the confidence interval", default=None)
    ci_high: float | None = column("Upper end of the confidence interval", default=None)
    n: int = column("Number of units")
    unit: Unit = column("What is counted: refit, or draw of the noise where all seeds have the same weights")
    undefined_draws: int = column("Draws whose loss is not finite; with any, there is no mean")
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class NoiseSensitivity(InCell, WithHeads, OfModel):
    """The area under the response of a model's loss, over units."""

    table: ClassVar[str] = "noise_sensitivity"
    in_results: ClassVar[bool] = True
    area: float | None = column(
        "Mean area under the change of the loss against σ, from 0 to the largest dose", default=None
    )
    ci_low: float | None = column("Lower end of the confidence interval", default=None)
    ci_high: float | None = column("Upper end of the confidence interval", default=None)
    n: int = column("Number of units")
    unit: Unit = column("What is counted: refit, or draw of the noise where all seeds have the same weights")
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class SensitivityContrast(Row):
    """The areas of a group of units over those of a reference.

    The ratios are those that D'Elia (2026) lists. All numbers stay as they were computed; a ratio without bounds has no
    interval.
    """

    verdict: RatioVerdict = column("ratio: a number; unbounded: nothing tells the reference from 0; undefined")
    why_unbounded: str | None = column("Why the ratio has no bounds; null where it has", default=None)
    ratio_of_means: float | None = column("Mean area over mean area", heading="Ratio of means", default=None)
    median_of_ratios: float | None = column(
        "Median over seeds of the ratio of areas; null where seeds differ", heading="Median of ratios", default=None
    )
    geometric_mean: float | None = column(
        "Ratio of geometric means of areas; null where one is not positive", heading="Ratio", default=None
    )
    log_ratio: float | None = column("ln of the ratio of means", default=None)
    log_low: float | None = column("Lower end of its interval", default=None)
    log_high: float | None = column("Upper end of its interval", default=None)
    geometric_low: float | None = column(
        "Lower end of Welch's interval of the ratio of geometric means, which suits few units better", default=None
    )
    geometric_high: float | None = column("Upper end of that interval", default=None)
    log_deviation: float | None = column(
        "Standard deviation of ln areas over units of one model, pooled over both", default=None
    )
    p: float | None = column(
        "Two-sided p of a permutation test of ln areas; of areas where one is not positive", heading="p", default=None
    )
    p_attainable: float | None = column("The smallest p that this design can give", heading="Smallest p", default=None)
    procedure: Procedure | None = column("Procedure behind p, as calibration names it", default=None)
    method: str = column("How p and intervals were made")
    n: int = column("Units of the group")
    n_reference: int = column("Units of the reference")
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class Compared(Row):
    """Which models are compared."""

    kind: Kind = column("architecture: another base; duplication: the same model with duplicated heads")
    group: str = column("Model in question", heading="Model")
    reference: str = column("Model that it is compared with", heading="Against")


@dataclass(frozen=True, kw_only=True)
class NoiseContrast(SensitivityContrast, InCell, Compared):
    """How much more sensitive to noise a model is than another, or with duplicated heads than as made."""

    table: ClassVar[str] = "noise_contrasts"
    in_results: ClassVar[bool] = True
    out_of_band: bool | None = column(IS_OUT_OF_BAND, default=None)


@dataclass(frozen=True, kw_only=True)
class NoiseSharing(InCell, OfModel):
    """What sharing keys and values does to noise in them: models of one function, one draw per shared head over one per
    copy."""

    table: ClassVar[str] = "noise_sharing"
    in_results: ClassVar[bool] = True
    ratio: float | None = column(
        "Geometric mean over refits of the area with shared over that with independent noise",
        heading="Shared over independent",
        default=None,
    )
    log_ratio: float | None = column("ln of it", default=None)
    log_low: float | None = column("Lower end of Student's interval of ln over refits", default=None)
    log_high: float | None = column("Upper end of it", default=None)
    n: int = column("Refits", heading="Refits")
    method: str = column("How the interval was made")
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class NoiseSpecialization(Response, WithHeads, OfRefit):
    """The response of an estimator to a dose of the noise experiment, per refit."""

    table: ClassVar[str] = "noise_specialization"


@dataclass(frozen=True, kw_only=True)
class KeyValueDuplication(TwinDifferences, OfRefit):
    """A model and its twin with duplicated heads, without noise and under all doses and draws."""

    table: ClassVar[str] = "key_value_duplication"
    in_results: ClassVar[bool] = True
    largest_delta_nll_difference: float | None = column(
        "Largest difference of the change of the loss, any dose",
        unit="nats per token",
        heading="Change of the loss",
        default=None,
    )
    largest_delta_nll: float | None = column(
        "Largest absolute change of the loss at any dose, for comparison", unit="nats per token", default=None
    )
    largest_specialization_difference: float | None = column(
        "Largest difference of any estimator at any dose", heading="Estimators", default=None
    )


@dataclass(frozen=True, kw_only=True)
class GeneratedTextSlope(WithHeads, OfRefit):
    """The published outcome: how the perplexity of what a model wrote under noise rises with σ."""

    table: ClassVar[str] = "generated_text"
    draw: int = column("Draw of the noise")
    slope: float | None = column("Slope of mean perplexity on σ, as published", default=None)
    perplexity_smallest_dose: float | None = column(
        "Mean perplexity of the text written at the smallest dose", default=None
    )
    perplexity_largest_dose: float | None = column("The same at the largest dose", default=None)
    doses: int = column("Doses")
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class ProbeResponse(Response, OfRefit):
    """The response of an estimator to the probe's one dose, per refit."""

    table: ClassVar[str] = "probe"
    base: str | None = column("Base model that it descends from; null for a base", default=None)
    reading: Reading | None = column("What the published thresholds call the response", default=None)


@dataclass(frozen=True, kw_only=True)
class OfEstimator(Row):
    """An estimator."""

    estimator: str = column("Estimator of specialization, all keys kept", heading="Estimator")


@dataclass(frozen=True, kw_only=True)
class ProbeDiscrimination(OfEstimator):
    """What the response of an estimator to the probe tells apart, over pairs of an aligned model and its base."""

    table: ClassVar[str] = "probe_discrimination"
    in_results: ClassVar[bool] = True
    task: Task = column("What the response is to tell apart", heading="Task")
    area: float | None = column(
        "ROC area: chance that the first group responds more; ½: nothing is told apart",
        heading="ROC area",
        default=None,
    )
    ci_low: float | None = column("Lower end of the confidence interval", default=None)
    ci_high: float | None = column("Upper end of the confidence interval", default=None)
    p: float | None = column("Two-sided p of one test", heading="p", default=None)
    p_attainable: float | None = column("The smallest p that this design can give", heading="Smallest p", default=None)
    procedure: Procedure = column("Procedure behind p, as calibration names it")
    n: int = column("Models in the first group, each refit counted")
    n_reference: int | None = column("Models in the second group, each refit counted", default=None)
    test: str = column("How p and the interval were made")
    out_of_band: bool | None = column(IS_OUT_OF_BAND, default=None)
    reason: str | None = column(REASON, default=None)


@dataclass(frozen=True, kw_only=True)
class Selection(Row):
    """What choosing the best of many cells does where there is nothing to find."""

    cells: int = column("Doses and regions to choose from")
    units: int = column("Refits of bases, split at random into two halves")
    splits: int = column("Random splits")
    declared_rate: float = column("Share of splits in which a cell fixed beforehand differs at the level (t-test)")
    best_rate: float = column("The same of the cell that differs most significantly in the expected direction")
    declared_percent: float = column("Mean difference in the fixed cell", unit="percentage points")
    best_percent: float = column("Mean difference in the best cell", unit="percentage points")
    level: float = column("Level of each test")


@dataclass(frozen=True, kw_only=True)
class ProbeSelection(Selection, OfEstimator):
    """The demonstration on the responses of an estimator in the bases as made."""

    table: ClassVar[str] = "probe_selection"
    in_results: ClassVar[bool] = True


# The finished tables, which stand in the report.
TABLES: tuple[type[Row], ...] = (
    NoiseResponse,
    NoiseSensitivity,
    NoiseContrast,
    NoiseSharing,
    NoiseSpecialization,
    KeyValueDuplication,
    GeneratedTextSlope,
    ProbeResponse,
    ProbeDiscrimination,
    ProbeSelection,
)
