"""What the jobs need that take attention from a model, from their wildcards and inputs and the number of prompts.

Imported by the Snakefile: nothing heavy is imported here.
"""

from dataclasses import replace
from typing import Any

from headwise.models.needs import shape_at
from headwise.models.resources import Needs, extraction_needs, loaded_bytes
from headwise.models.shape import Shape
from headwise.study.sections import pair_statistics
from headwise.study.study import Study


def extraction(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule extract_attention."""
    shape = shape_at(study, wildcards.model, wildcards.seed, input.checkpoint)
    return extraction_request(study, wildcards.model, shape, prompts)


def extraction_request(study: Study, name: str, shape: Shape, prompts: int) -> Needs:
    """For one forward pass per prompt."""
    model = study.model(name)
    statistics = pair_statistics(study)
    return extraction_needs(shape, study.extraction_of(model), study.loading_of(model), prompts, statistics)


def weights_request(study: Study, name: str, shape: Shape, prompts: int) -> Needs:
    """As `extraction_request`, of what takes the weights themselves, a layer at a time, whatever the architecture."""
    return extraction_request(study, name, replace(shape, whole_attention=True), prompts)


def loaded_weights(study: Study, name: str, shape: Shape) -> int:
    """Bytes of a model's weights in memory."""
    model = study.model(name)
    return loaded_bytes(shape, study.extraction_of(model), study.loading_of(model))
