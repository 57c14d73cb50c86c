"""What the job needs in which a model feeds on its own text.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.recursion.jobs import arm_of
from headwise.analyses.recursion.settings import Recursion
from headwise.attention.needs import loaded_weights, weights_request
from headwise.models.needs import shape_at
from headwise.models.resources import Needs, perturbation_needs, writing_bytes
from headwise.models.shape import Shape
from headwise.study.study import Study


def recursion(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule recurse_model."""
    writer = arm_of(study, wildcards.arm).model
    return recursion_request(study, writer, shape_at(study, writer, wildcards.seed, input.checkpoint), prompts)


def recursion_request(study: Study, name: str, shape: Shape, prompts: int) -> Needs:
    """For an arm of recursive generation, which the model of that name writes."""
    recursion = study.section(Recursion)
    length = recursion.context + recursion.new_tokens
    written = writing_bytes(shape, min(recursion.batch, recursion.prompts), length)
    each = [weights_request(study, name, shape, prompts)]
    return perturbation_needs(each, loaded_weights(study, name, shape), written)
