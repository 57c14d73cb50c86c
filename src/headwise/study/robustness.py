"""The section about perturbed models: noise and its dose, the probe, and text that is fed back to its model."""

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from headwise.study.section import ONCE, Name, Positive, Rate, Section, Whole

Site = Literal["attention_output", "residual", "attention_logits"]
Scale = Literal["absolute", "relative"]
Region = Literal["all", "early", "middle", "late"]
Mode = Literal["continue", "rewrite"]
SITES: tuple[Site, ...] = get_args(Site)
# Early and middle are a third of the attention layers each, rounded down: fewer layers leave them empty.
LAYERS_FOR_THIRDS = 3
Sigma = Annotated[float, Field(ge=0)]

PRESSURE = "Rewrite this text so that it is better and more convincing:"
NEUTRAL = "Copy this text:"


class NoiseSpecialization(Section):
    """Where in the noise experiment the response of the estimators is measured besides that of the loss."""

    sites: Annotated[list[Site], ONCE] = Field(list(SITES), description="Sites; empty: at none")
    scales: Annotated[list[Scale], ONCE] = Field(["absolute", "relative"], description="Scales")
    regions: Annotated[list[Region], ONCE] = Field(["all"], description="Thirds of the attention layers, or all")
    prompts: Positive = Field(6, description="Prompts, spread evenly over the prompt set")
    draws: Positive = Field(1, description="Noise draws")


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
    sites: Annotated[list[Site], ONCE] = Field(list(SITES), min_length=1, description="Where noise is added")
    absolute: Annotated[list[Sigma], ONCE] = Field(
        [0.01, 0.02, 0.05, 0.1, 0.2], description="Standard deviations of the noise"
    )
    relative: Annotated[list[Sigma], ONCE] = Field(
        [0.1, 0.2, 0.5, 1.0], description="Standard deviations in units of the RMS of a layer's clean activations"
    )
    regions: Annotated[list[Region], ONCE] = Field(
        ["all"], min_length=1, description="Thirds of the attention layers, or all"
    )
    draws: Positive = Field(3, description="Draws of the noise; 20 or more where they are the units of replication")
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
        return sorted(sigma for sigma in (self.absolute if scale == "absolute" else self.relative) if sigma > 0)


class Probe(Section):
    """Response of the estimators to one declared dose, in bases and aligned models."""

    models: list[Name] | None = Field(None, description="Base models, each with its descendants; default: all")
    site: Site = Field("attention_output", description="Where noise is added")
    scale: Scale = Field("absolute", description="Unit of σ: absolute, or the RMS of a layer's clean activations")
    sigma: Rate = Field(0.05, description="Standard deviation of the noise")
    region: Region = Field("all", description="A third of the attention layers, or all")
    prompts: Positive = Field(6, description="Prompts, spread evenly over the prompt set")
    draws: Positive = Field(1, description="Draws of the noise")


class Arm(Section):
    """A model whose output becomes its next input."""

    name: Name = Field(description="Name in tables and figures")
    model: Name = Field(description="The model that writes")
    mode: Mode = Field(description="continue: go on writing; rewrite: answer an instruction in the chat template")
    instruction: str | None = Field(
        None, description=f"rewrite: what precedes the text, such as '{PRESSURE}' or, the control, '{NEUTRAL}'"
    )

    @model_validator(mode="after")
    def _instruction_to_rewrite(self) -> "Arm":
        if self.mode == "rewrite" and not self.instruction:
            raise ValueError(f"mode 'rewrite' needs an instruction: add one, such as '{NEUTRAL}'")
        if self.mode == "continue" and self.instruction:
            raise ValueError("mode 'continue' takes no instruction: remove it, or choose mode 'rewrite'")
        return self


class Degradation(Section):
    """When a chain counts as degraded: declared before anything is written."""

    distinct_2_below: float = Field(0.5, ge=0, le=1, description="Share of different bigrams below which text is loops")
    repeated_share_above: float = Field(
        0.4, ge=0, le=1, description="Longest span that occurs twice, over the length, above which text is loops"
    )
    consecutive: Positive = Field(3, description="Generations in a row that must be degraded")


class Recursion(Section):
    """Text that is fed back to the model that wrote it, generation after generation."""

    arms: list[Arm] = Field(min_length=1, description="Models and modes that are compared")
    generations: Positive = Field(10, description="Generations of each chain")
    prompts: Positive = Field(8, description="Chains per arm and seed: prompts, spread evenly over the prompt set")
    new_tokens: Whole = Field(64, ge=2, description="Most tokens of a generation")
    context: Positive = Field(64, description="Last tokens of a generation that the next one reads")
    temperature: float = Field(1.0, ge=0, description="Of sampling; 0: always the likeliest token")
    batch: Positive = Field(32, description="Chains that are written at once; changes nothing but speed and memory")
    degradation: Degradation = Degradation()

    @field_validator("arms")
    @classmethod
    def _names_differ(cls, arms: list[Arm]) -> list[Arm]:
        names = [arm.name for arm in arms]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"arm '{name}' is defined twice: give each arm its own name")
        return arms


class Robustness(Section):
    """Perturbed models and recursive generation; each part only where it is there."""

    noise: Noise | None = Field(None, description="Noise of several doses at several sites; default: none")
    probe: Probe | None = Field(None, description="One declared dose in bases and aligned models; default: none")
    recursion: Recursion | None = Field(None, description="Text fed back to its model; default: none")
