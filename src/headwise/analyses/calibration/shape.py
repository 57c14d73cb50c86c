"""The size of a study as its tests see it: prompts in domains, refits, families."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, repeat

from headwise.study.study import Study


@dataclass(frozen=True)
class Shape:
    """How many units the tests of a study have.

    domains    (P,) domain of each prompt
    layers     attention layers of the decoders; 4 where the study trains none
    heads      heads per layer, likewise
    refits     refits of a model: the fewest of any
    families   families of models
    pairs      aligned models, each with its base
    """

    domains: tuple[str, ...]
    layers: int
    heads: int
    refits: int
    families: int
    pairs: int

    @property
    def prompts(self) -> int:
        return len(self.domains)


def units_of(study: Study) -> dict[str, int]:
    """What a shape has beside the domains of prompts, by name."""
    return {
        "layers": study.decoder.layers,
        "heads": study.decoder.heads,
        "refits": min(len(study.seeds_of(model)) for model in study.models),
        "families": len({study.family_of(model) for model in study.models}),
        "pairs": len(study.descendants()),
    }


def shape_of(domains: Mapping[str, int], units: Mapping[str, int]) -> Shape:
    """The shape of a study with so many prompts in each domain, and those `units_of`."""
    return Shape(tuple(chain.from_iterable(repeat(name, count) for name, count in domains.items())), **units)
