"""What a job needs that measures the refits of a group.

Imported by the Snakefile, so nothing heavy is imported here.
"""

from collections.abc import Sequence
from typing import Any

from headwise.analyses.stability.jobs import refits_of
from headwise.analyses.stability.settings import Stability
from headwise.attention.needs import loaded_weights, weights_request
from headwise.models.needs import shape_at
from headwise.models.resources import (
    ABLATED_AT_ONCE,
    BYTES,
    TEXTS_AT_ONCE,
    Needs,
    loss_bytes,
    perturbation_needs,
)
from headwise.models.shape import Shape
from headwise.study.study import Study


def probe(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule probe_refits."""
    refits = refits_of(study, wildcards.group)
    shapes = [shape_at(study, *refit, checkpoint) for refit, checkpoint in zip(refits, input.refits, strict=True)]
    return refits_request(study, [name for name, _ in refits], shapes, prompts)


def refits_request(study: Study, names: Sequence[str], shapes: Sequence[Shape], prompts: int) -> Needs:
    """For a group of refits, given the model and the shape of each; the section `stability` is there."""
    each = [weights_request(study, name, shape, prompts) for name, shape in zip(names, shapes, strict=True)]
    longest = study.extraction_of(study.model(names[0])).max_tokens
    weights = loaded_weights(study, names[0], shapes[0])
    return refits_needs(each, shapes[0], weights, study.section(Stability), longest, prompts * longest)


def refits_needs(
    each: Sequence[Needs], shape: Shape, weights: float, settings: Stability, longest: int, tokens: int
) -> Needs:
    """For refits of one shape that are measured one after another, the first beside one with random weights.

    weights          bytes of one model's
    longest, tokens  of a prompt, and of all prompts together: residual streams and writes of all refits
                     are held until the last is there
    """
    text = 0.0
    if "ablation" in settings.analyses:
        texts = ABLATED_AT_ONCE * settings.ablation_excerpts
        text = max(
            loss_bytes(shape, texts, settings.ablation_tokens),
            loss_bytes(shape, ABLATED_AT_ONCE * TEXTS_AT_ONCE, longest),
        )
    kept = 0
    read = min(tokens, settings.residual_tokens or tokens)
    if "writes" in settings.analyses:
        # The heads of a layer are seldom wider than twice the stream; two refits are compared in float64.
        kept += (len(each) + settings.random_refits + 4) * shape.layers * read * 2 * shape.hidden * 4
    if "residual" in settings.analyses:
        kept += (len(each) + settings.random_refits) * 2 * shape.layers * read * shape.hidden * 4
    random = shape.parameters * BYTES["float32"] if settings.random_refits else 0
    return perturbation_needs(each, weights, text, kept + random)
