"""What a job needs that measures the refits of a group.

Imported by the Snakefile, so nothing heavy is imported here.
"""

from collections.abc import Sequence

from headwise.analyses.stability.settings import Stability
from headwise.models.resources import (
    ABLATED_AT_ONCE,
    BYTES,
    TEXTS_AT_ONCE,
    Needs,
    loss_bytes,
    perturbation_needs,
)
from headwise.models.shape import Shape


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
