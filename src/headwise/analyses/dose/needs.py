"""What the job needs that measures how far the descendants of a base are from it.

Imported by the Snakefile: nothing heavy is imported here.
"""

from dataclasses import replace
from typing import Any

from headwise.analyses.dose.settings import descendants_of
from headwise.attention.needs import extraction_request, loaded_weights
from headwise.models.needs import shape_at
from headwise.models.resources import Needs, loss_bytes, perturbation_needs
from headwise.models.shape import Shape
from headwise.study.study import Study


def dose(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule measure_dose."""
    seed = descendants_of(study, wildcards.model)[0][1]
    shape = shape_at(study, wildcards.model, seed, input.bases[0])
    return dose_request(study, wildcards.model, shape, prompts)


def dose_request(study: Study, base: str, shape: Shape, prompts: int) -> Needs:
    """For the passes of a base and of its descendants at all seeds, two models at a time."""
    extraction = extraction_request(study, base, shape, prompts)
    tokens = study.extraction_of(study.model(base)).max_tokens
    weights = loaded_weights(study, base, shape)
    needs = perturbation_needs([extraction], weights, 2 * loss_bytes(shape, 1, tokens), weights)
    # Two passes take less than an extraction, which makes statistics of all attention.
    return replace(needs, minutes=max(extraction.minutes, len(descendants_of(study, base)) * extraction.minutes // 3))
