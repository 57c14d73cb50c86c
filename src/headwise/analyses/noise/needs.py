"""What the job needs that perturbs a base and its descendants.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.noise.bases import probed_descendants
from headwise.analyses.noise.settings import Noise
from headwise.attention.needs import loaded_weights, weights_request
from headwise.models.needs import shape_at
from headwise.models.resources import Needs, loss_bytes, perturbation_needs, twin_bytes, writing_bytes
from headwise.models.shape import Shape
from headwise.study.study import Study


def perturbation(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule perturb_model."""
    shape = shape_at(study, wildcards.model, wildcards.seed, input.base)
    return perturbation_request(study, wildcards.model, int(wildcards.seed), shape, prompts)


def perturbation_request(study: Study, base: str, seed: int, shape: Shape, prompts: int) -> Needs:
    """For a base under noise and the probe of its descendants."""
    measured = 1 + len(probed_descendants(study, base, seed))
    extraction, noise = study.extraction_of(study.model(base)), study.find(Noise)
    text, twin = 0.0, 0.0
    if noise is not None:
        text = loss_bytes(shape, noise.excerpts, noise.tokens)
        if generated := noise.generated_text:
            longest = extraction.max_tokens + generated.new_tokens
            text = max(text, writing_bytes(shape, noise.draws, longest), loss_bytes(shape, 1, longest))
        twin = twin_bytes(shape, extraction) if base in noise.duplicate else 0
    each = [weights_request(study, base, shape, prompts)] * measured
    return perturbation_needs(each, loaded_weights(study, base, shape), text, twin)
