"""The tables that belong to no analysis: models and their training; and groups of columns that analyses share."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from headwise.tables.row import Row, column

REASON = "Why something is undefined, or must be read with care"
IS_OUT_OF_BAND = "Whether the test is out of its calibration band; null: not known to be"


class Verdict(StrEnum):
    """What an adjusted test says: on which side of 0, or of the reference, a change lies, or why that is not said."""

    REPEAT = "repeat"
    NOT_TESTED = "not tested"
    BELOW = "below"
    ABOVE = "above"
    BELOW_WITHIN = "below, by less than the margin"
    ABOVE_WITHIN = "above, by less than the margin"
    PRESERVED = "preserved"
    UNDECIDED = "undecided"
    NO_DIRECTION = "undecided, no direction"
    UNDECIDABLE = "undecidable"
    UNDECIDABLE_ADJUSTED = "undecidable, adjusted"


class Answer(StrEnum):
    """What a question gets."""

    YES = "yes"
    NO = "no"
    EQUIVALENT = "equivalent to nothing"
    UNDECIDED = "undecided"


# Verdicts that rest on the test of equivalence as well.
WITHIN_MARGIN = (Verdict.BELOW_WITHIN, Verdict.ABOVE_WITHIN, Verdict.PRESERVED)
# The smallest p that the design can give, alone or adjusted, is above the level.
NEVER_DECIDED = (Verdict.UNDECIDABLE, Verdict.UNDECIDABLE_ADJUSTED)


@dataclass(frozen=True, kw_only=True)
class OfModel(Row):
    """What a number was measured on."""

    model: str = column("Name of the model in the study file")
    family: str = column("Unit of replication across models: a base and its descendants")
    base: str | None = column("Base model that it descends from; null for a base", default=None)
    method: str | None = column("How it was aligned; null for a base", default=None)
    seed: int = column("Refit of a model that the study trains; else the protocol's seed")


@dataclass(frozen=True, kw_only=True)
class OfEstimator(Row):
    """Which number."""

    estimator: str = column("Estimator of specialization")
    sink: str = column("kept: all keys; dropped: key 0 removed and rows renormalised")


@dataclass(frozen=True, kw_only=True)
class Test(Row):
    """A test and its interval."""

    ci_low: float | None = column("Lower end of the confidence interval", default=None)
    ci_high: float | None = column("Upper end of the confidence interval", default=None)
    p: float | None = column("Two-sided p of one test, before adjustment", default=None)
    p_attainable: float | None = column("The smallest p that this design can give", default=None)
    n: int = column("Number of units")


@dataclass(frozen=True, kw_only=True)
class Judged(Row):
    """What a test says at the level of the study."""

    role: str = column("confirmatory: declared before anything was computed; exploratory: all others")
    p_adjusted: float | None = column("p adjusted for the number of tests", default=None)
    p_adjusted_attainable: float | None = column(
        "Adjusted p if every test reached the smallest p of its design", default=None
    )
    adjustment: str | None = column("Method of adjustment, and over how many tests", default=None)
    verdict: Verdict = column("What the test says at the level of the study")
    out_of_band: bool | None = column(IS_OUT_OF_BAND, default=None)


@dataclass(frozen=True, kw_only=True)
class ModelRow(OfModel):
    """A model at one seed: its shape, training and alignment, and how it was measured."""

    table: ClassVar[str] = "models"
    in_results: ClassVar[bool] = True
    source: str = column("train: from scratch by the study; align: from a base by the study; folder: from disk")
    alignment: str | None = column("sft or dpo, where the study aligned it; `method` names its arm", default=None)
    placebo: bool | None = column("Whether its arm is a placebo; null where the study did not align it", default=None)
    dose: int | None = column("Steps of its arm, in multiples of those of the method; null: likewise", default=None)
    coin: int | None = column("Which coin a placebo of DPO has; null for all others", default=None)
    attention: str | None = column("multi-head, grouped-query, multi-query or multi-head latent", default=None)
    layers: int | None = column("Attention layers", default=None)
    hidden: int | None = column("Width of the residual stream", default=None)
    heads: int | None = column("Attention heads per layer", default=None)
    key_value_heads: int | None = column("Heads that hold keys and values", default=None)
    key_value_ratio: float | None = column("key_value_heads / heads", default=None)
    head_width: int | None = column("Width of one head", default=None)
    positions: str | None = column("How positions are coded", default=None)
    crowding: float | None = column("heads / key_value_heads × heads / head_width (D'Elia 2026)", default=None)
    parameters: int | None = column("Weights, tied ones counted once", default=None)
    window_tokens: int | None = column("Smallest sliding window, in tokens; null: none", default=None)
    window_layers: int | None = column("Layers with a sliding window", default=None)
    longest_prompt_tokens: int | None = column("Tokens of the longest prompt, as this model reads it", default=None)
    window_layers_acting: int | None = column(
        "Layers whose window hides any key from any query of that prompt", default=None
    )
    steps: int | None = column("Training steps from scratch", default=None)
    held_out_loss_nats: float | None = column(
        "Mean loss per token on held-out text after training from scratch", default=None
    )
    unigram_entropy_nats: float | None = column("Loss on held-out text of token frequencies alone", default=None)
    corpus_loss_nats_before: float | None = column("Loss per token on held-out text before alignment", default=None)
    corpus_loss_nats_after: float | None = column("Loss per token on held-out text after alignment", default=None)
    response_loss_nats_before: float | None = column(
        "Loss per token of held-out responses before alignment", default=None
    )
    response_loss_nats_after: float | None = column(
        "Loss per token of held-out responses after alignment", default=None
    )
    preference_accuracy_before: float | None = column(
        "Share of held-out pairs ranked as preferred, before alignment", default=None
    )
    preference_accuracy_after: float | None = column(
        "Share of held-out pairs ranked as preferred, after alignment", default=None
    )
    reward_accuracy: float | None = column("DPO: share of held-out pairs with a positive reward margin", default=None)
    reward_margin_nats: float | None = column("DPO: mean reward margin on held-out pairs", default=None)
    seed_changes: str | None = column("What the seed changed", default=None)
    dtype: str | None = column("Number format of the measurement", default=None)
    template: str | None = column("raw, or chat: prompts in the model's chat template", default=None)
    first_token: str | None = column(
        "What raw text begins with: tokenizer (its own tokens), none, or bos", default=None
    )
    weights_digest: str | None = column("SHA-256 of the weights", default=None)
    tokenizer_digest: str | None = column("SHA-256 of the tokenizer", default=None)
    corpus_digest: str | None = column("SHA-256 of the corpus", default=None)
    repeats_seed: int | None = column("Earlier seed of this model with the same weights", default=None)


@dataclass(frozen=True, kw_only=True)
class TrainingStep(OfModel):
    """A step of training or alignment."""

    table: ClassVar[str] = "training"
    step: int = column("Steps of the optimiser taken")
    split: str = column("train: the batch of that step; held_out: documents never trained on")
    loss_nats: float = column("Mean loss; per token, for DPO per pair")
    learning_rate: float | None = column("Learning rate of that step", default=None)
    accuracy: float | None = column("DPO: share of pairs whose chosen response is the likelier", default=None)


TABLES: tuple[type[Row], ...] = (ModelRow, TrainingStep)
