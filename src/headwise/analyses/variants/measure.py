"""Every estimator of one model under each variant of the extraction, beside the variant that it is compared with."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.analyses.specialization.collect import Collector
from headwise.analyses.specialization.evaluate import Summary, profile
from headwise.analyses.specialization.measured import Measured
from headwise.analyses.specialization.registry import estimator
from headwise.analyses.specialization.settings import Specialization
from headwise.analyses.variants.inputs import ImpossibleVariant, Inputs, prepare
from headwise.analyses.variants.rows import Shift, VariantRow
from headwise.analyses.variants.settings import STUDY, Variant, Variants, own_and
from headwise.attention.capture import LayerAttention, capturing
from headwise.models.checkpoint import weights_digest
from headwise.models.load import load_checkpoint
from headwise.models.optimization import one_thread
from headwise.report.rows import OfModel
from headwise.runtime.progress import track
from headwise.study.extraction import Extraction
from headwise.study.models import Loading
from headwise.study.prompts import Prompt, prompts_by_id, spread
from headwise.tables.files import write_rows
from headwise.tables.row import columns_of

if TYPE_CHECKING:
    pass

# What a variant gave: statistics, or why there are none.
Outcome = Measured | str
IDENTITY = ("model", "family", "base", "method", "seed")
SETTINGS = (
    "padding",
    "pad_to",
    "pad_token",
    "averaging",
    "position_ids",
    "template",
    "first_token",
    "special_tokens",
    "dtype",
)


def measure_variants(
    checkpoint: Path,
    prompts: Path,
    table: Path,
    *,
    settings: Variants,
    extraction: Extraction,
    specialization: Specialization,
    metadata: Mapping[str, Any],
    loading: Loading | None = None,
) -> None:
    """Measure one model under the study's own extraction and every variant of it; write one row per variant, estimator
    and sink.

    The model is loaded once per dtype, on one CPU thread in evaluation mode; variants that differ in what enters
    statistics alone share their forward passes. Attention streams layer by layer.

    Under a variant that the model does not allow, estimators are undefined, with the reason. Raises CaptureError for an
    architecture that cannot be captured.
    """
    variants = {name: variant.resolved(extraction) for name, variant in own_and(settings.variants).items()}
    chosen = spread(prompts_by_id(prompts), settings.prompts)
    statistics = specialization.pair_statistics()
    outcomes: dict[str, Outcome] = {}

    def measure(dtype: str, of_dtype: Iterable[Variant]) -> None:
        # A function, so that one model is let go of before the next is loaded.
        model, tokenizer = load_checkpoint(checkpoint, dtype, extraction.device, loading)
        for _, sharing in groupby(of_dtype, _forward_pass):
            found = _measure(model, tokenizer, chosen, list(sharing), extraction.date, statistics, str(checkpoint))
            outcomes.update(found)

    with one_thread(), torch.inference_mode():
        for dtype, of_dtype in groupby(sorted(variants.values(), key=_forward_pass), lambda variant: variant.dtype):
            measure(str(dtype), of_dtype)
    shifts = list(compare(variants, outcomes, specialization.estimators, len(chosen)))
    read = extraction.as_recorded(asks_for_the_date=any(variant.template != "raw" for variant in variants.values()))
    identity = {each.name: metadata[each.name] for each in columns_of(OfModel)}
    rows = [{**identity, **asdict(shift)} for shift in shifts]
    write_rows(VariantRow, rows, table, {**metadata, **read, "weights_digest": weights_digest(checkpoint)})


def _forward_pass(variant: Variant) -> tuple[str, ...]:
    """What decides on the forward pass of a variant, the dtype first: all but names and averaging."""
    return (
        str(variant.dtype),
        *(f"{getattr(variant, field)}" for field in SETTINGS if field not in ("dtype", "averaging")),
    )


def _measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    variants: Sequence[Variant],
    date: str,
    statistics: Sequence[str],
    source: str,
) -> dict[str, Outcome]:
    """Outcomes of variants that share their forward passes, by name."""
    # As in extraction: neither the language-model head nor a cache is needed.
    body = cast(PreTrainedModel, model.base_model)
    body.config.use_cache = False
    names = ", ".join(variant.name for variant in variants)
    try:
        inputs = prepare(prompts, variants[0], date, body, tokenizer)
    except ImpossibleVariant as impossible:
        return {variant.name: str(impossible) for variant in variants}
    collectors = {variant.averaging: Collector(f"{source}, variant '{names}'", statistics) for variant in variants}
    undefined: dict[str, str] = {}
    current: list[Inputs] = []

    def receive(attention: LayerAttention) -> None:
        prompt = current[-1]
        for averaging, collector in collectors.items():
            positions = prompt.positions(averaging)
            counted = attention if positions is None else attention.among(positions)
            if (counted.weights.sum() + counted.head_outputs.float().sum()).isfinite():
                collector.add(prompt.prompt, counted)
            else:
                where = f"prompt '{prompt.prompt}', layer {attention.layer}"
                undefined.setdefault(averaging, f"attention is not finite: {where}")

    with capturing(body, receive, padded=True):
        for one in track(inputs, f"{source}: {names}", len(inputs)):
            current[:] = [one]
            body(**one.arguments)
    return {
        variant.name: undefined.get(variant.averaging) or collectors[variant.averaging].measured({})
        for variant in variants
    }


def compare(
    variants: Mapping[str, Variant], outcomes: Mapping[str, Outcome], estimators: Sequence[str], prompts: int
) -> Iterator[Shift]:
    """Each variant's estimators beside those of its reference; variants are resolved, the study's own first."""
    values = {name: _values(outcome, estimators) for name, outcome in outcomes.items()}
    for name, variant in variants.items():
        if name == STUDY:
            continue
        padded = variant.padding != "none"
        choices = variant.choices(variants[variant.reference])
        for key, rows in values[name].items():
            others = values[variant.reference][key]
            value, other = rows[0].value, others[0].value
            reason = rows[0].reason or (others[0].reason and f"reference '{variant.reference}': {others[0].reason}")
            yield Shift(
                variant=name,
                reference=variant.reference,
                choices=", ".join(choices) or "none",
                choice_count=len(choices),
                padding=variant.padding,
                pad_to=variant.pad_to if padded else None,
                pad_token=variant.pad_token if padded else None,
                averaging=variant.averaging if padded else None,
                position_ids=variant.position_ids if padded else None,
                template=str(variant.template),
                first_token=str(variant.first_token),
                special_tokens=variant.special_tokens,
                dtype=str(variant.dtype),
                estimator=key[0],
                sink=key[1],
                value=value,
                reference_value=other,
                difference=None if value is None or other is None else value - other,
                largest_layer_difference=_largest_layer_difference(rows, others),
                prompts=prompts,
                reason=reason,
            )


def _values(outcome: Outcome, estimators: Sequence[str]) -> dict[tuple[str, str], list[Summary]]:
    """By estimator and sink: the row of the model, then those of its layers."""
    values = {}
    for each in map(estimator, estimators):
        for sink in each.sinks:
            if isinstance(outcome, str):
                values[each.name, sink] = [Summary(each.name, sink, "model", None, None, reason=outcome)]
            else:
                values[each.name, sink] = list(profile(each, sink, outcome, each.features(outcome, sink)))
    return values


def _largest_layer_difference(rows: Sequence[Summary], others: Sequence[Summary]) -> float | None:
    reference = {row.layer: row.value for row in others[1:] if row.value is not None}
    differences = [
        row.value - reference[row.layer] for row in rows[1:] if row.value is not None and row.layer in reference
    ]
    return max(differences, key=abs, default=None)
