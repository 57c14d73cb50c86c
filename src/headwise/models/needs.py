"""What the jobs need that make models, from their wildcards and inputs: what `resources` must know is put together.

Imported by the Snakefile: nothing heavy is imported here.
"""

from pathlib import Path
from typing import Any

from headwise.models.files import corpus_files
from headwise.models.resources import (
    Needs,
    alignment_needs,
    conversion_needs,
    corpus_bytes,
    fetching_needs,
    training_needs,
)
from headwise.models.shape import Shape, shape_of, shape_of_facts
from headwise.study.models import AlignedModel, TrainedModel
from headwise.study.study import Study


def training(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule train_model."""
    return training_request(study, wildcards.model)


def training_request(study: Study, name: str) -> Needs:
    """For training a base from scratch."""
    model = study.model(name)
    assert isinstance(model, TrainedModel), f"rule train_model makes no {model.source}"
    return training_needs(
        shape_of(study, model, 0, Path()),
        study.training_of(model),
        corpus_bytes(study.corpus, corpus_files(study.corpus)),
    )


def alignment(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule align_model."""
    model = study.model(wildcards.model)
    assert isinstance(model, AlignedModel), f"rule align_model makes no {model.source}"
    base = study.model(model.base)
    assert isinstance(base, TrainedModel), "a study with another base was refused"
    return alignment_needs(
        shape_of(study, model, 0, Path()),
        study.settings_of(model),
        study.decoder_of(base).positions,
        corpus_bytes(study.corpus, corpus_files(study.corpus)),
    )


def fetching(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule fetch_model: nothing of the model is there yet but the facts in the study."""
    facts = getattr(study.model(wildcards.model), "facts", None)
    return fetching_needs(shape_of_facts(facts) if facts else None)


def conversion(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule convert_model."""
    original = input.get("weights") or input.fetched
    return conversion_needs(shape_at(study, wildcards.model, wildcards.seed, original))


def shape_at(study: Study, name: str, seed: str | int, checkpoint: str) -> Shape:
    """How large a model is; its checkpoint says so where the study does not."""
    return shape_of(study, study.model(name), int(seed), Path(checkpoint))
