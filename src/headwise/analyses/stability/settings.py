"""The section about the stability of heads across refits."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from headwise.analyses.stability.independence import dependent_refits
from headwise.study.models import LoadedModel, TrainedModel
from headwise.study.name_consistency import alike
from headwise.study.section import ONCE, Name, Positive, Rate, Section, Whole

if TYPE_CHECKING:
    from headwise.study.study import Study

Analysis = Literal["heads", "writes", "residual", "ablation", "weights", "head_map"]
ANALYSES: tuple[Analysis, ...] = ("heads", "writes", "residual", "ablation", "weights", "head_map")


class RefitGroup(Section):
    """Refits of one architecture, trained alike but for the seed."""

    name: Name = Field(description="Name of the group in tables and figures")
    models: list[Name] = Field(
        min_length=1, description="Models whose seeds are the refits; the first refit is the published anchor"
    )


class WeightDecayContrast(Section):
    """Two groups of refits that differ in weight decay alone."""

    without: Name = Field(description="Group trained without weight decay (Adam)")
    with_decay: Name = Field(description="Group trained with weight decay (AdamW)")


class Stability(Section):
    """How stable attention heads are across refits (Bali et al. 2026), with chance levels."""

    groups: list[RefitGroup] = Field(
        [], description="Default: one per trained base that has two or more refits; no such base, no comparison"
    )
    analyses: Annotated[list[Analysis], ONCE] = Field(
        [*ANALYSES],
        min_length=1,
        description="What is measured; heads: from attention alone, all others load the models",
    )
    words: Annotated[list[Positive], ONCE] = Field(
        [5, 10, 20, 30, 40, 50], description="Prompt lengths, in words, that head stability is measured at as well"
    )
    random_refits: Whole = Field(3, ge=0, description="Models per group with random weights, as a control")
    residual_tokens: Whole | None = Field(
        4000,
        ge=8,
        description="Tokens that residual streams and writes are compared on, whole prompts; null: all of them",
    )
    ablation_excerpts: Positive = Field(8, description="Held-out excerpts that a head's importance is measured on")
    ablation_tokens: Whole = Field(
        128, ge=2, description="Tokens per held-out excerpt, or the model's positions if fewer"
    )
    head_map_perplexity: Rate = Field(
        30.0, description="Perplexity of t-SNE, at most a third of the heads that are shown"
    )
    memory_mb: Whole = Field(512, ge=16, description="Attention, or kernel values, held in memory at once; MB")
    weight_decay: Annotated[list[WeightDecayContrast], ONCE] = Field([], description="Groups that are contrasted")
    depths: Annotated[list[Name], ONCE] = Field(
        [], description="Groups that differ in depth alone, for the dip over depth"
    )
    parity_margin: Rate = Field(
        0.05, description="Largest difference of held-out loss still called parity, nats per token"
    )

    @field_validator("random_refits")
    @classmethod
    def _comparable(cls, count: int) -> int:
        if count == 1:
            raise ValueError("one model with random weights has nothing to be compared with: give 2 or more, or 0")
        return count


SECTIONS = {"stability": (Stability | None, Field(None, description="Default: no comparison of heads across refits"))}


def refit_groups(study: "Study") -> list[RefitGroup]:
    """The groups of refits whose heads are compared; none without a section `stability`."""
    settings = study.find(Stability)
    if settings is None:
        return []
    return settings.groups or [
        RefitGroup(name=model.name, models=[model.name])
        for model in study.models
        if isinstance(model, TrainedModel) and len(study.seeds_of(model)) > 1
    ]


def refits_of(study: "Study", group: RefitGroup) -> list[tuple[str, int]]:
    """Model and seed of each refit of a group, the published anchor first."""
    return [(name, seed) for name in group.models for seed in study.seeds_of(study.model(name))]


def problems(study: "Study") -> list[str]:
    """Sentences about groups of refits that contradict the models or each other, each naming the field."""
    settings = study.find(Stability)
    if settings is None:
        return []
    found = alike("stability.groups", "names", (group.name for group in settings.groups))
    if study.extraction.store != "tensors":
        found.append("stability: heads are compared by their attention weights: set extraction.store to tensors")
    models = {model.name for model in study.models}
    for position, group in enumerate(settings.groups):
        field = f"stability.groups.{position} ('{group.name}').models"
        if unknown := [name for name in group.models if name not in models]:
            found.append(f"{field}: there is no model '{unknown[0]}': name one of models")
        elif len(set(group.models)) < len(group.models):
            found.append(f"{field}: a model is listed twice: remove one")
        elif len(refits_of(study, group)) < 2:
            found.append(f"{field}: a group of one refit has nothing to compare: add models or seeds")
        elif dependent := dependent_refits(study, refits_of(study, group)):
            found.append(f"{field}: {dependent}")
        found += [
            f"{field}: '{model.name}' is quantized or spread over devices, and whole matrices of weights are read and "
            "copied here: leave it out of the group, or remove its quantization and device_map"
            for model in study.models
            if model.name in group.models
            and isinstance(model, LoadedModel)
            and (model.quantization or model.device_map)
        ]
    if found:
        return found
    names = Counter(group.name for group in refit_groups(study))
    found += [
        f"stability.groups: '{name}' is defined {count} times: give each group its own name"
        for name, count in names.items()
        if count > 1
    ]
    named = [(f"stability.depths.{position}", name) for position, name in enumerate(settings.depths)]
    for position, contrast in enumerate(settings.weight_decay):
        field = f"stability.weight_decay.{position}"
        named += [(f"{field}.without", contrast.without), (f"{field}.with_decay", contrast.with_decay)]
    found += [
        f"{field}: there is no group '{name}': choose from {', '.join(names)}"
        for field, name in named
        if name not in names
    ]
    return found
