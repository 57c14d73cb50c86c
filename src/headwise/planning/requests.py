"""What the jobs of a study ask for: the sections of the study file that `resources` needs, put together rule by rule.

Imported by the Snakefile, so nothing heavy is imported here.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headwise.analyses.dose.settings import descendants_of
from headwise.analyses.noise.bases import probed_descendants
from headwise.analyses.noise.settings import Noise
from headwise.analyses.recursion.settings import Recursion
from headwise.analyses.stability.needs import refits_needs
from headwise.analyses.stability.settings import Stability
from headwise.analyses.variants.needs import variants_needs
from headwise.analyses.variants.settings import Variants
from headwise.analyses.working_heads.jobs import judged_models
from headwise.analyses.working_heads.settings import HELD_OUT_TOKENS
from headwise.models.files import corpus_files
from headwise.models.resources import (
    Needs,
    alignment_needs,
    corpus_bytes,
    extraction_needs,
    fetching_needs,
    held_out_needs,
    loaded_bytes,
    loss_bytes,
    perturbation_needs,
    training_needs,
    twin_bytes,
    writing_bytes,
)
from headwise.models.shape import Shape, shape_of, shape_of_facts
from headwise.study.models import AlignedModel, TrainedModel
from headwise.study.sections import pair_statistics
from headwise.study.study import Study


def training_request(study: Study, name: str) -> Needs:
    """For training a base from scratch."""
    model = study.model(name)
    assert isinstance(model, TrainedModel), f"rule train_model makes no {model.source}"
    return training_needs(
        shape_of(study, model, 0, Path()),
        study.training_of(model),
        corpus_bytes(study.corpus, corpus_files(study.corpus)),
    )


def alignment_request(study: Study, name: str) -> Needs:
    """For making a descendant."""
    model = study.model(name)
    assert isinstance(model, AlignedModel), f"rule align_model makes no {model.source}"
    base = study.model(model.base)
    assert isinstance(base, TrainedModel), "a study with another base was refused"
    return alignment_needs(
        shape_of(study, model, 0, Path()),
        study.settings_of(model),
        study.decoder_of(base).positions,
        corpus_bytes(study.corpus, corpus_files(study.corpus)),
    )


def fetching_request(study: Study, name: str) -> Needs:
    """For a download; nothing of the model is there yet but the facts in the study."""
    facts = getattr(study.model(name), "facts", None)
    return fetching_needs(shape_of_facts(facts) if facts else None)


def extraction_request(study: Study, name: str, shape: Shape, prompts: int) -> Needs:
    """For one forward pass per prompt."""
    model = study.model(name)
    statistics = pair_statistics(study)
    return extraction_needs(shape, study.extraction_of(model), study.loading_of(model), prompts, statistics)


def _weights_request(study: Study, name: str, shape: Shape, prompts: int) -> Needs:
    """As `extraction_request`, of what takes the weights themselves, a layer at a time, whatever the architecture."""
    return extraction_request(study, name, replace(shape, whole_attention=True), prompts)


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
    each = [_weights_request(study, base, shape, prompts)] * measured
    return perturbation_needs(each, _loaded(study, base, shape), text, twin)


def dose_request(study: Study, base: str, shape: Shape, prompts: int) -> Needs:
    """For the passes of a base and of its descendants at all seeds, two models at a time."""
    extraction = extraction_request(study, base, shape, prompts)
    tokens = study.extraction_of(study.model(base)).max_tokens
    weights = _loaded(study, base, shape)
    needs = perturbation_needs([extraction], weights, 2 * loss_bytes(shape, 1, tokens), weights)
    # Two passes take less than an extraction, which makes statistics of all attention.
    return replace(needs, minutes=max(extraction.minutes, len(descendants_of(study, base)) * extraction.minutes // 3))


def recursion_request(study: Study, name: str, shape: Shape, prompts: int) -> Needs:
    """For an arm of recursive generation, which the model of that name writes."""
    recursion = study.section(Recursion)
    length = recursion.context + recursion.new_tokens
    written = writing_bytes(shape, min(recursion.batch, recursion.prompts), length)
    each = [_weights_request(study, name, shape, prompts)]
    return perturbation_needs(each, _loaded(study, name, shape), written)


def refits_request(study: Study, names: Sequence[str], shapes: Sequence[Shape], prompts: int) -> Needs:
    """For a group of refits, given the model and the shape of each; the section `stability` is there."""
    each = [_weights_request(study, name, shape, prompts) for name, shape in zip(names, shapes, strict=True)]
    longest = study.extraction_of(study.model(names[0])).max_tokens
    weights = _loaded(study, names[0], shapes[0])
    return refits_needs(each, shapes[0], weights, study.section(Stability), longest, prompts * longest)


def working_heads_request(study: Study) -> Needs:
    """For all models that are made here, one after another; none is a job without them."""
    models = judged_models(study)
    trained = [training_request(study, model.name) for model in models if isinstance(model, TrainedModel)]
    if not trained:
        return Needs(0, 0)
    shapes = [shape_of(study, model, 0, Path()) for model in models for _ in study.seeds_of(model)]
    return held_out_needs(shapes, trained, 2 * HELD_OUT_TOKENS, corpus_bytes(study.corpus, corpus_files(study.corpus)))


def _loaded(study: Study, name: str, shape: Shape) -> int:
    model = study.model(name)
    return loaded_bytes(shape, study.extraction_of(model), study.loading_of(model))
