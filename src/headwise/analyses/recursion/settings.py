"""The section about recursive generation: text that is fed back to the model that wrote it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from headwise.study.name_consistency import alike
from headwise.study.section import Name, Positive, Section, Whole

if TYPE_CHECKING:
    from headwise.study.study import Study

Mode = Literal["continue", "rewrite"]

PRESSURE = "Rewrite this text so that it is better and more convincing:"
NEUTRAL = "Copy this text:"


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


SECTIONS = {"recursion": (Recursion | None, Field(None, description="Text fed back to its model; default: none"))}


def problems(study: "Study") -> list[str]:
    """Sentences about arms and generations that contradict the models or each other, each naming the field."""
    recursion = study.find(Recursion)
    if recursion is None:
        return []
    names = [model.name for model in study.models]
    found = [
        f"recursion.arms.{position} ('{arm.name}').model: there is no model '{arm.model}': name one of models"
        for position, arm in enumerate(recursion.arms)
        if arm.model not in names
    ]
    if recursion.degradation.consecutive > recursion.generations:
        found.append(
            f"recursion.degradation.consecutive: {recursion.degradation.consecutive} generations in a row are more "
            f"than the {recursion.generations} of a chain: lower it"
        )
    return found + alike("recursion.arms", "names", (arm.name for arm in recursion.arms))


def length_problems(study: "Study", positions: Mapping[str, int]) -> list[str]:
    """Sentences about text that is longer than the positions of the model that writes it, by its name."""
    recursion = study.find(Recursion)
    return [
        f"recursion.arms.{number} ('{arm.name}'): context {recursion.context} and new_tokens {recursion.new_tokens} do "
        f"not fit, with a first token, into the {positions[arm.model]} positions of '{arm.model}': lower one of them"
        for number, arm in enumerate(recursion.arms if recursion else [])
        if recursion and arm.model in positions and recursion.context + recursion.new_tokens >= positions[arm.model]
    ]
