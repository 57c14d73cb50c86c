"""The section about the dose of alignment: how far it moved a model, and what it taught."""

from typing import TYPE_CHECKING

from pydantic import Field

from headwise.study.models import Model
from headwise.study.section import Positive, Section

if TYPE_CHECKING:
    from headwise.study.study import Study


class Dose(Section):
    """How far each aligned model is from its base, and what alignment taught it."""

    prompts: Positive | None = Field(
        None, description="Number of prompts, spread evenly over the prompt set in the order of ids; default: all"
    )


SECTIONS = {"dose": (Dose | None, Field(None, description="Distance of aligned models from their bases; default: no"))}


def dosed_bases(study: "Study") -> list[Model]:
    """Models that others descend from, in the order of the study; none where it does not ask."""
    if study.find(Dose) is None:
        return []
    bases = {getattr(model, "base", None) for model in study.descendants()}
    return [model for model in study.models if model.name in bases]


def descendants_of(study: "Study", base: str) -> list[tuple[Model, int]]:
    """The models that are compared with a base, at each of their seeds: the seeds of the base one after another."""
    pairs = [
        (model, seed)
        for model in study.descendants()
        if getattr(model, "base", None) == base
        for seed in study.seeds_of(model)
    ]
    return sorted(pairs, key=lambda pair: pair[1])


def problems(study: "Study") -> list[str]:
    """A sentence where the section has nothing to measure."""
    if study.find(Dose) is not None and not study.descendants():
        return ["dose: no model has a base: add an aligned model, or remove the section"]
    return []
