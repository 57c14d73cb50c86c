"""The tables that every study has, but for those of its analyses: models, their training, and their specialization."""

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


@dataclass(frozen=True, kw_only=True)
class EstimatorRow(Row):
    """An estimator of specialization."""

    table: ClassVar[str] = "estimators"
    in_results: ClassVar[bool] = True
    estimator: str = column("Name")
    role: str = column("primary: the one that confirmatory tests use; secondary: all others")
    definition: str | None = column("Formula", default=None)
    source: str | None = column("Where the definition comes from", default=None)
    low: float | None = column("Smallest possible value; null: unbounded", default=None)
    high: float | None = column("Largest possible value; null: unbounded", default=None)


@dataclass(frozen=True, kw_only=True)
class SpecializationRow(OfEstimator, OfModel):
    """The value of an estimator for a model or one of its layers."""

    table: ClassVar[str] = "specialization"
    in_results: ClassVar[bool] = True
    scope: str = column("model, layer, or the name of a companion of the estimator")
    layer: int | None = column("Layer, counted from 0; null for values of the whole model", default=None)
    value: float | None = column("Value of the estimator; null where it is undefined", default=None)
    reason: str | None = column("Why the value is undefined", default=None)


@dataclass(frozen=True, kw_only=True)
class CheckRow(OfEstimator, OfModel):
    """The value of an estimator after something was done to the heads that must, or must not, change it."""

    table: ClassVar[str] = "checks"
    in_results: ClassVar[bool] = True
    check: str = column("head_permutation: heads shuffled within layers; without_layer: one layer left out")
    layer: int | None = column("The layer left out", default=None)
    value: float | None = column("Value of the whole model, unchanged", default=None)
    checked_value: float | None = column("Value after the manipulation; mean over random orders", default=None)
    change: float | None = column("checked_value − value", default=None)
    deviation: float | None = column("Standard deviation over random orders of heads", default=None)
    largest_change: float | None = column("Largest absolute change of any random order of heads", default=None)
    reason: str | None = column("Why the value is undefined", default=None)


@dataclass(frozen=True, kw_only=True)
class DescriptorRow(OfModel):
    """What a head attends to."""

    table: ClassVar[str] = "descriptors"
    layer: int = column("Layer, counted from 0")
    head: int = column("Head, counted from 0")
    previous_token: float | None = column("Mean attention to the previous token, 0…1", default=None)
    self_attention: float | None = column("Mean attention to the token itself, 0…1", default=None)
    first_token: float | None = column("Mean attention to the first token, 0…1", default=None)
    distance_tokens: float | None = column("Mean distance between query and key, in tokens", default=None)
    effective_keys: float | None = column("exp of the row entropy: effective number of keys", default=None)
    induction: float | None = column(
        "Attention to what followed last time, on repeated random tokens, 0…1", default=None
    )
    rows_left_out: int = column("Query rows after the first that have nothing left where key 0 is removed, all prompts")
    left_out_share: float | None = column("Their share of all query rows after the first, 0…1", default=None)


@dataclass(frozen=True, kw_only=True)
class Pair(Row):
    """An aligned model and its base, at one refit or over all."""

    base: str = column("Base model")
    aligned: str = column("Aligned descendant")
    family: str = column("Unit of replication across models")
    method: str | None = column("How it was aligned", default=None)
    scope: str = column("refit: within one refit, unit prompt; refits: over refits, unit refit")
    seed: int | None = column("Refit; null over refits", default=None)


@dataclass(frozen=True, kw_only=True)
class Change(Row):
    """What changed from base to aligned model."""

    level: str = column("model, or layer")
    layer: int | None = column("Layer, counted from 0", default=None)
    base_value: float | None = column("Mean of the base over the units", default=None)
    aligned_value: float | None = column("Mean of the aligned model over the units", default=None)
    delta_absolute: float | None = column("aligned_value − base_value", default=None)
    delta_relative: float | None = column("delta_absolute / base_value", default=None)


@dataclass(frozen=True, kw_only=True)
class TestOfChange(Test):
    """Its test, also where prompts of a domain move together, and the test of equivalence."""

    unit: str = column("What is counted: prompt or refit")
    test: str | None = column("Name of the test", default=None)
    p_domains: float | None = column(
        "p when whole prompt domains are swapped: if prompts of a domain move together", default=None
    )
    p_domains_attainable: float | None = column("The smallest that p_domains can be", default=None)
    p_equivalence: float | None = column("p of the equivalence test, before adjustment", default=None)
    equivalence_margin: float | None = column("Largest change called preserved", default=None)
    p_equivalence_adjusted: float | None = column("p_equivalence adjusted for the number of tests", default=None)


@dataclass(frozen=True, kw_only=True)
class ComparisonRow(Judged, TestOfChange, Change, OfEstimator, Pair):
    """An aligned model against its base."""

    table: ClassVar[str] = "comparisons"
    in_results: ClassVar[bool] = True
    reason: str | None = column("Why something is undefined", default=None)


@dataclass(frozen=True, kw_only=True)
class Kind(Row):
    """Which question."""

    kind: str = column(
        "architecture: bases; architecture_by_seed: bases, paired by seed; alignment_difference: changes; "
        "alignment_pooled: mean change; alignment_random_effects: mean change, families weighted by their errors; "
        "alignment_without_family: mean change of the other families"
    )


@dataclass(frozen=True, kw_only=True)
class Contrasted(Row):
    """What is contrasted, and by how much it differs."""

    method: str | None = column("How the models were aligned; null between bases", default=None)
    group: str = column("Model in question, or family left out")
    reference: str | None = column("Model or family that it is compared with", default=None)
    estimate: float | None = column(
        "group − reference; for alignment_pooled the mean change over families", default=None
    )


@dataclass(frozen=True, kw_only=True)
class TestOfContrast(Test):
    """Its test, and what is expected of a further family."""

    n_reference: int | None = column("Number of units of the reference", default=None)
    unit: str = column("What is counted: refit, seed or family")
    test: str | None = column("Name of the test", default=None)
    tau: float | None = column("Standard deviation of true changes between families", default=None)
    prediction_low: float | None = column("Lower end of the interval for the change of a further family", default=None)
    prediction_high: float | None = column("Upper end of the interval for the change of a further family", default=None)


@dataclass(frozen=True, kw_only=True)
class ContrastRow(Judged, TestOfContrast, Contrasted, OfEstimator, Kind):
    """Models against each other."""

    table: ClassVar[str] = "contrasts"
    in_results: ClassVar[bool] = True
    reason: str | None = column("Why something is undefined", default=None)


@dataclass(frozen=True, kw_only=True)
class AgreementRow(OfEstimator):
    """How far an estimator agrees with the primary one."""

    table: ClassVar[str] = "agreement"
    in_results: ClassVar[bool] = True
    models_compared: int = column("Models with both values; each refit counts")
    rank_correlation: float | None = column("Spearman's rank correlation with the primary estimator", default=None)
    changes_compared: int = column("Changes under alignment within one refit that both have")
    same_direction: int = column("How many of these changes have the same sign")
    reason: str | None = column("Why the correlation is undefined", default=None)


TABLES: tuple[type[Row], ...] = (
    ModelRow,
    TrainingStep,
    EstimatorRow,
    SpecializationRow,
    CheckRow,
    DescriptorRow,
    ComparisonRow,
    ContrastRow,
    AgreementRow,
)
