"""What a job needs that measures variants of the extraction.

Imported by the Snakefile, so nothing heavy is imported here.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from headwise.analyses.variants.settings import Variant, Variants
from headwise.models.needs import shape_at
from headwise.models.resources import Needs, extraction_needs
from headwise.models.shape import Shape
from headwise.study.extraction import Extraction
from headwise.study.models import Loading
from headwise.study.sections import pair_statistics
from headwise.study.study import Study


def variants(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule measure_variants."""
    shape = shape_at(study, wildcards.model, wildcards.seed, input.checkpoint)
    return variants_request(study, wildcards.model, shape, prompts)


def variants_request(study: Study, name: str, shape: Shape, prompts: int) -> Needs:
    """For the variants of the extraction: the most memory that one takes, and the time of all."""
    model = study.model(name)
    return variants_needs(
        shape,
        study.extraction_of(model),
        study.loading_of(model),
        study.section(Variants).variants,
        prompts,
        pair_statistics(study),
    )


def variants_needs(
    shape: Shape,
    extraction: Extraction,
    loading: Loading,
    variants: Sequence[Variant],
    prompts: int,
    pair_statistics: Sequence[str],
) -> Needs:
    """For one extraction after another of weights, of the same model: the most memory that one takes, and the time of
    all."""
    shape = replace(shape, whole_attention=True)
    each = []
    for variant in variants:
        settings = extraction.model_copy(
            update={
                "dtype": variant.dtype or extraction.dtype,
                "max_tokens": max(extraction.max_tokens, variant.pad_to if variant.padding != "none" else 0),
                "store": "statistics",
            }
        )
        each.append(extraction_needs(shape, settings, loading, prompts, pair_statistics))
    return Needs(
        memory_mb=max(needs.memory_mb for needs in each),
        minutes=sum(needs.minutes for needs in each),
        gpus=max(needs.gpus for needs in each),
    )
