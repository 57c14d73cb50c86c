"""What the jobs of rules need, from their wildcards and inputs and the number of prompts.

Imported by the Snakefile: nothing heavy is imported here.
"""

from pathlib import Path
from typing import Any

from headwise.analyses.dose.settings import descendants_of
from headwise.analyses.recursion.jobs import arm_of
from headwise.analyses.stability.jobs import refits_of
from headwise.models.resources import Needs, conversion_needs
from headwise.models.shape import Shape, shape_of
from headwise.planning.requests import (
    alignment_request,
    dose_request,
    extraction_request,
    fetching_request,
    perturbation_request,
    recursion_request,
    refits_request,
    training_request,
    variants_request,
    working_heads_request,
)
from headwise.study.study import Study


def training(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule train_model."""
    return training_request(study, wildcards.model)


def alignment(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule align_model."""
    return alignment_request(study, wildcards.model)


def fetching(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule fetch_model."""
    return fetching_request(study, wildcards.model)


def conversion(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule convert_model."""
    original = input.get("weights") or input.fetched
    return conversion_needs(_shape(study, wildcards.model, wildcards.seed, original))


def extraction(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule extract_attention."""
    shape = _shape(study, wildcards.model, wildcards.seed, input.checkpoint)
    return extraction_request(study, wildcards.model, shape, prompts)


def variants(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule measure_variants."""
    shape = _shape(study, wildcards.model, wildcards.seed, input.checkpoint)
    return variants_request(study, wildcards.model, shape, prompts)


def perturbation(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule perturb_model."""
    shape = _shape(study, wildcards.model, wildcards.seed, input.base)
    return perturbation_request(study, wildcards.model, int(wildcards.seed), shape, prompts)


def dose(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule measure_dose."""
    seed = descendants_of(study, wildcards.model)[0][1]
    shape = _shape(study, wildcards.model, seed, input.bases[0])
    return dose_request(study, wildcards.model, shape, prompts)


def recursion(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule recurse_model."""
    writer = arm_of(study, wildcards.arm).model
    return recursion_request(study, writer, _shape(study, writer, wildcards.seed, input.checkpoint), prompts)


def probe(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule probe_refits."""
    refits = refits_of(study, wildcards.group)
    shapes = [_shape(study, *refit, checkpoint) for refit, checkpoint in zip(refits, input.refits, strict=True)]
    return refits_request(study, [name for name, _ in refits], shapes, prompts)


def working_heads(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule measure_working_heads."""
    return working_heads_request(study)


def _shape(study: Study, name: str, seed: str | int, checkpoint: str) -> Shape:
    """How large a model is; its checkpoint says so where the study does not."""
    return shape_of(study, study.model(name), int(seed), Path(checkpoint))
