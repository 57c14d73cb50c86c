"""Whether the refits of a group are what they are counted as: trained independently of one another."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from headwise.study.models import AlignedModel, HubModel, LoadedModel, TransformerLensModel

if TYPE_CHECKING:
    from headwise.study.study import Study

# Model and seed; no seed where every seed reads the same weights.
Refit = tuple[str, int | None]


def dependent_refits(study: "Study", refits: Iterable[tuple[str, int]]) -> str | None:
    """A sentence about the first two of these refits that are the same checkpoint or share an ancestor, if any do."""
    places: dict[tuple[object, ...], str] = {}
    ancestors: dict[Refit, str] = {}
    for name, seed in refits:
        label = f"'{name}' seed {seed}"
        if other := places.get(_place(study, name, seed)):
            return (
                f"{other} and {label} read the same weights, and a model is no refit of itself: leave one of them out"
            )
        places[_place(study, name, seed)] = label
        for ancestor, its_seed in _line(study, name, seed):
            if other := ancestors.get((ancestor, its_seed)):
                origin = f"'{ancestor}'" + ("" if its_seed is None else f" seed {its_seed}")
                return (
                    f"{other} and {label} both come from {origin}, and refits are trained independently: give models "
                    "that share a base a group each"
                )
            ancestors[ancestor, its_seed] = label
    return None


def _line(study: "Study", name: str, seed: int) -> list[Refit]:
    """A refit and what it descends from, as far as the study says."""
    names = {model.name for model in study.models}
    line: list[Refit] = []
    current: str | None = name
    while current in names and current not in [each for each, _ in line]:
        model = study.model(current)
        line.append((current, seed if getattr(model, "has_refits", True) else None))
        current = getattr(model, "base", None)
    return line


def _place(study: "Study", name: str, seed: int) -> tuple[object, ...]:
    """Where the weights of a refit come from: equal for two that are the same."""
    model = study.model(name)
    if isinstance(model, HubModel):
        return "hub", model.place("repository", seed), model.place("revision", seed)
    if isinstance(model, TransformerLensModel):
        places = (model.place(field, seed) for field in ("weights", "repository", "revision"))
        return "transformer_lens", *places
    if isinstance(model, LoadedModel):
        return "folder", *(os.path.realpath(model.place(field, seed)) for field in model.places)
    if isinstance(model, AlignedModel):
        return "align", model.base, model.arm, seed
    changes = (tuple(sorted(section.items())) for section in (model.decoder, model.training))
    return "train", *changes, model.data, seed
