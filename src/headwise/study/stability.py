"""The section about the stability of heads across refits."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from headwise.study.section import ONCE, Name, Positive, Rate, Section, Whole

Analysis = Literal["heads", "residual", "ablation", "weights", "head_map"]
ANALYSES: tuple[Analysis, ...] = ("heads", "residual", "ablation", "weights", "head_map")


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
        4000, ge=8, description="Tokens that the residual stream is compared on, whole prompts; null: all of them"
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
