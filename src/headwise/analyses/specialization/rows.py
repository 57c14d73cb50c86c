"""The tables of specialization: estimators, what they measured, checks, descriptors, tests."""

from dataclasses import dataclass
from typing import ClassVar

from headwise.report.rows import Judged, OfEstimator, OfModel, Test
from headwise.tables.row import Row, column


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
    main: ClassVar[tuple[str, str] | None] = ("scope", "model")
    scope: str = column("model, layer, or the name of a companion of the estimator")
    layer: int | None = column("Layer, counted from 0; null for values of the whole model", default=None)
    value: float | None = column("Value of the estimator; null where it is undefined", default=None)
    reason: str | None = column("Why the value is undefined", default=None)


@dataclass(frozen=True, kw_only=True)
class CheckRow(OfEstimator, OfModel):
    """The value of an estimator after something was done to the heads that must, or must not, change it."""

    table: ClassVar[str] = "checks"
    in_results: ClassVar[bool] = True
    main: ClassVar[tuple[str, str] | None] = ("check", "head_permutation")
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
    main: ClassVar[tuple[str, str] | None] = ("level", "model")
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
    at_equal_loss: float | None = column(
        "The same between refits of one held-out loss, by analysis of covariance; for architecture, of models that are "
        "trained here",
        heading="At equal loss",
        default=None,
    )
    at_equal_loss_low: float | None = column("Lower end of its interval (Student's t)", default=None)
    at_equal_loss_high: float | None = column("Upper end of its interval", default=None)


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
    EstimatorRow,
    SpecializationRow,
    CheckRow,
    DescriptorRow,
    ComparisonRow,
    ContrastRow,
    AgreementRow,
)
