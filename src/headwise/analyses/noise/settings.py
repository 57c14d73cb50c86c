"""The sections about perturbed models: noise of several doses, and the probe of one declared dose."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from headwise.study.decoders import decoders
from headwise.study.section import ONCE, Name, Positive, Rate, Section, Whole

if TYPE_CHECKING:
    from headwise.study.study import Study


class Site(StrEnum):
    """Where noise is added."""

    ATTENTION_OUTPUT = "attention_output"
    RESIDUAL = "residual"
    ATTENTION_LOGITS = "attention_logits"
    KEYS = "keys"
    VALUES = "values"

    @property
    def is_shared(self) -> bool:
        """Whether heads of a group share what noise is added to."""
        return self in (Site.KEYS, Site.VALUES)


class Scale(StrEnum):
    """Unit of σ: that of the activations, or the RMS of each layer's clean activations."""

    ABSOLUTE = "absolute"
    RELATIVE = "relative"


class Region(StrEnum):
    """Attention layers: all, or a third of them."""

    ALL = "all"
    EARLY = "early"
    MIDDLE = "middle"
    LATE = "late"


# Where estimators can be measured under noise.
SITES = (Site.ATTENTION_OUTPUT, Site.RESIDUAL, Site.ATTENTION_LOGITS)


def _measurable(site: Site) -> Site:
    if site not in SITES:
        raise ValueError(
            f"under noise in {site} only losses are measured: estimators need the call of attention themselves, in "
            f"which keys and values are reached: choose from {', '.join(SITES)}"
        )
    return site


EstimatorSite = Annotated[
    Site, AfterValidator(_measurable), WithJsonSchema({"type": "string", "enum": [site.value for site in SITES]})
]
# Early and middle are a third of the attention layers each, rounded down: fewer layers leave them empty.
LAYERS_FOR_THIRDS = 3
Sigma = Annotated[float, Field(ge=0)]
# Every prompt has noise of its own, so that one draw of it is a sample of as many as there are prompts.
PROMPTS_OF_ESTIMATORS, DRAWS_OF_ESTIMATORS = 6, 1


class NoiseSpecialization(Section):
    """Where in the noise experiment the response of the estimators is measured besides that of the loss."""

    sites: Annotated[list[EstimatorSite], ONCE] = Field(list(SITES), description="Sites; empty: at none")
    scales: Annotated[list[Scale], ONCE] = Field(list(Scale), description="Scales")
    regions: Annotated[list[Region], ONCE] = Field([Region.ALL], description="Thirds of the attention layers, or all")
    prompts: Positive = Field(PROMPTS_OF_ESTIMATORS, description="Prompts, spread evenly over the prompt set")
    draws: Positive = Field(DRAWS_OF_ESTIMATORS, description="Draws of the noise")


class GeneratedText(Section):
    """The published outcome: perplexity of text that the perturbed model wrote itself."""

    prompts: Positive = Field(5, description="Prompts, spread evenly over the prompt set")
    new_tokens: Positive = Field(50, description="Tokens that are written after each prompt")
    sigmas: Annotated[list[Sigma], ONCE] = Field(
        [0.0, 0.01, 0.02, 0.05, 0.1, 0.2], min_length=2, description="Absolute σ, 0 included; at attention_output"
    )


class Noise(Section):
    """Gaussian noise inside base models; outcome: the change of teacher-forced loss on held-out text."""

    models: Annotated[list[Name], ONCE] | None = Field(None, description="Base models; default: all")
    duplicate: Annotated[list[Name], ONCE] = Field(
        [], description="Of these, models that are measured a second time with key and value heads duplicated"
    )
    sites: Annotated[list[Site], ONCE] = Field(
        list(SITES),
        min_length=1,
        description="Where noise is added. keys, values: after their projection and position code, before query heads "
        "share them",
    )
    absolute: Annotated[list[Sigma], ONCE] = Field(
        [0.01, 0.02, 0.05, 0.1, 0.2], description="Standard deviations of the noise"
    )
    relative: Annotated[list[Sigma], ONCE] = Field(
        [0.1, 0.2, 0.5, 1.0], description="Standard deviations in units of the RMS of a layer's clean activations"
    )
    regions: Annotated[list[Region], ONCE] = Field(
        [Region.ALL], min_length=1, description="Thirds of the attention layers, or all"
    )
    # More than of estimators: a loss costs one pass, and where all seeds have the same weights draws are the units.
    draws: Positive = Field(10, description="Draws of the noise; 20 or more where they are the units of replication")
    excerpts: Positive = Field(8, description="Excerpts of held-out text")
    tokens: Whole = Field(64, ge=2, description="Tokens per excerpt")
    specialization: NoiseSpecialization = NoiseSpecialization()
    generated_text: GeneratedText | None = Field(None, description="The published outcome, besides; default: none")

    @model_validator(mode="after")
    def _some_noise(self) -> "Noise":
        if not any(self.absolute) and not any(self.relative):
            raise ValueError("absolute and relative hold no σ above 0: list at least one")
        return self

    def sigmas(self, scale: Scale) -> list[float]:
        """The doses of a scale above 0, ascending; the clean model is always measured."""
        return sorted(sigma for sigma in (self.absolute if scale == Scale.ABSOLUTE else self.relative) if sigma > 0)


class Probe(Section):
    """Response of the estimators to one declared dose, in bases and aligned models."""

    models: list[Name] | None = Field(None, description="Base models, each with its descendants; default: all")
    site: EstimatorSite = Field(Site.ATTENTION_OUTPUT, description="Where noise is added")
    scale: Scale = Field(Scale.ABSOLUTE, description="Unit of σ: absolute, or the RMS of a layer's clean activations")
    sigma: Rate = Field(0.05, description="Standard deviation of the noise")
    region: Region = Field(Region.ALL, description="A third of the attention layers, or all")
    prompts: Positive = Field(PROMPTS_OF_ESTIMATORS, description="Prompts, spread evenly over the prompt set")
    draws: Positive = Field(DRAWS_OF_ESTIMATORS, description="Draws of the noise")


SECTIONS = {
    "noise": (Noise | None, Field(None, description="Noise of several doses at several sites; default: none")),
    "probe": (Probe | None, Field(None, description="One declared dose in bases and aligned models; default: none")),
}


def measured_bases(study: "Study", experiment: Noise | Probe | None) -> list[str]:
    """Names of the bases that an experiment is run on; none without it."""
    if experiment is None:
        return []
    return [model.name for model in study.bases()] if experiment.models is None else experiment.models


def problems(study: "Study") -> list[str]:
    """Sentences about experiments that contradict the models, each naming the field."""
    noise, probe = study.find(Noise), study.find(Probe)
    found = _noise_problems(study, noise) if noise else []
    if probe:
        found += _unknown_bases(study, "probe.models", probe.models)
        found += _empty_regions(study, "probe.region", measured_bases(study, probe), probe.region)
    return found


def length_problems(study: "Study", positions: Mapping[str, int]) -> list[str]:
    """Sentences about held-out and written text that is longer than the positions of a model, by its name."""
    noise = study.find(Noise)
    if noise is None:
        return []
    lengths = {"tokens": noise.tokens}
    if noise.generated_text is not None:
        # After one token of a prompt at least.
        lengths["generated_text.new_tokens"] = noise.generated_text.new_tokens + 1
    return [
        f"noise.{field}: {length} tokens do not fit into the {positions[name]} positions of '{name}': lower it, or "
        "choose a model with more positions"
        for name in measured_bases(study, noise)
        for field, length in lengths.items()
        if name in positions and length > positions[name]
    ]


def _noise_problems(study: "Study", noise: Noise) -> list[str]:
    problems = _unknown_bases(study, "noise.models", noise.models)
    measured, shapes = measured_bases(study, noise), decoders(study)
    for name in noise.duplicate:
        decoder = shapes.get(name)
        if name not in measured:
            problems.append(
                f"noise.duplicate: '{name}' is not among the base models that noise is added to: add it to "
                "noise.models, or remove it here"
            )
        elif decoder is not None and decoder.key_value_heads in (None, decoder.heads):
            problems.append(
                f"noise.duplicate: '{name}' has as many key and value heads as heads, so there is "
                "nothing to duplicate: remove it"
            )
    for region in {*noise.regions, *noise.specialization.regions}:
        problems += _empty_regions(study, "noise.regions", measured, region)
    return problems


def _unknown_bases(study: "Study", field: str, names: list[str] | None) -> list[str]:
    bases = [model.name for model in study.bases()]
    return [
        f"{field}: there is no base model '{name}': name one of models" for name in names or () if name not in bases
    ]


def _empty_regions(study: "Study", field: str, names: list[str], region: Region) -> list[str]:
    if region not in (Region.EARLY, Region.MIDDLE):
        return []
    shapes = decoders(study)
    return [
        f"{field}: the region '{region}' of the {decoder.layers} layers of '{name}' holds no layer: choose another"
        for name, decoder in ((name, shapes[name]) for name in names if name in shapes)
        if decoder.layers < LAYERS_FOR_THIRDS
    ]
