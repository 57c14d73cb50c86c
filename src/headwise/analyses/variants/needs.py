"""What a job needs that measures variants of the extraction.

Imported by the Snakefile, so nothing heavy is imported here.
"""

from collections.abc import Sequence
from dataclasses import replace

from headwise.analyses.variants.settings import Variant
from headwise.models.resources import Needs, extraction_needs
from headwise.models.shape import Shape
from headwise.study.extraction import Extraction
from headwise.study.models import Loading


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
