"""The tables of variants: what each moves in each model, and beside what alignment moves."""

from dataclasses import dataclass
from typing import ClassVar

from headwise.report.rows import OfEstimator, OfModel
from headwise.statistics.ratio_verdict import RatioVerdict
from headwise.tables.row import Row, column


@dataclass(frozen=True, kw_only=True)
class Choice(Row):
    """A variant and what it is compared with."""

    variant: str = column("Name of the variant in the study file")
    reference: str = column("What it is compared with: another variant, or study, the study's own extraction")
    choices: str = column("Fields of the study file in which variant and reference differ; none: in no field")
    choice_count: int = column("Number of these fields")


@dataclass(frozen=True, kw_only=True)
class Protocol(Row):
    """How attention was extracted under the variant."""

    padding: str = column("none, left, right, or tokenizer: the side that the tokenizer names")
    pad_to: int | None = column(
        "Tokens of a padded prompt; null: not padded, as in the three that follow", default=None
    )
    pad_token: str | None = column(
        "tokenizer: its pad token, else its end token; eos, bos, unknown: those", default=None
    )
    averaging: str | None = column(
        "masked: real tokens; unmasked: pads as well; leading: the first positions", default=None
    )
    position_ids: str | None = column(
        "mask: the first real token is at 0; model: the model counts itself", default=None
    )
    template: str = column("raw, chat, or chat_or_raw: raw where the tokenizer has no chat template")
    first_token: str = column("What raw text begins with: tokenizer (its own tokens), none, or bos")
    special_tokens: str = column("twice: added by the tokenizer to what the chat template has written")
    dtype: str = column("Number format of the forward pass")


@dataclass(frozen=True, kw_only=True)
class Shift(OfEstimator, Protocol, Choice):
    """One estimator of a model under a variant and under its reference."""

    value: float | None = column("Value of the estimator under the variant", default=None)
    reference_value: float | None = column("Value under the reference, on the same prompts", default=None)
    difference: float | None = column("value − reference_value", default=None)
    largest_layer_difference: float | None = column(
        "Difference of the layer in which it is largest; null for an estimator without values of layers", default=None
    )
    prompts: int = column("Prompts measured")
    reason: str | None = column("Why a value is undefined", default=None)


@dataclass(frozen=True, kw_only=True)
class VariantRow(Shift, OfModel):
    """One estimator of a model under a variant and under its reference."""

    table: ClassVar[str] = "variants"


@dataclass(frozen=True, kw_only=True)
class Confound(OfEstimator, Choice):
    """How far a variant moves an estimator, beside what alignment moves it."""

    table: ClassVar[str] = "confounds"
    in_results: ClassVar[bool] = True
    measured: int = column("Models, each seed counted, in which variant and reference are defined")
    mean_difference: float | None = column("Mean over them of value − reference value", default=None)
    mean_absolute_difference: float | None = column("Mean over them of its absolute value", default=None)
    largest_absolute_difference: float | None = column("Largest of them", default=None)
    largest_model: str | None = column("Model with the largest", default=None)
    tolerance: float | None = column(
        "Where padding alone differs and must change nothing, with pads out of mask and statistics and positions "
        "counted from the first real token: what rounding explains",
        default=None,
    )
    spread_between_models: float | None = column(
        "Standard deviation (ddof 1) of the reference value over base models, seeds averaged", default=None
    )
    alignment_effect: float | None = column(
        "Mean over aligned models of the absolute change that the study's comparisons give: on all prompts, under the "
        "study's own extraction",
        default=None,
    )
    shift_over_alignment: float | None = column("mean_absolute_difference / alignment_effect", default=None)
    verdict: RatioVerdict = column(
        "Of shift_over_alignment. ratio: a number; unbounded: no model's change under alignment can be told from 0; "
        "undefined"
    )
    shift_over_spread: float | None = column("mean_absolute_difference / spread_between_models", default=None)
    alignment_effect_under_reference: float | None = column(
        "Mean over measured pairs of aligned − base, both under the reference", default=None
    )
    alignment_effect_under_variant: float | None = column("The same, both under the variant", default=None)
    pairs: int = column("Pairs of base and aligned model measured, each seed counted")
    reason: str | None = column("Why something is undefined", default=None)


TABLES = (VariantRow, Confound)
