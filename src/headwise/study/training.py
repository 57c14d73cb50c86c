"""Sections about making models: shape, training from scratch, alignment."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from headwise.study.section import ONCE, Positive, Rate, Section, Whole


class Decoder(Section):
    """Shape of the decoders that are trained here; what all of them share."""

    architecture: Literal["llama", "gpt2"] = Field(
        "llama",
        description="llama: rotary positions, RMSNorm, SiLU gates; gpt2: learned positions, LayerNorm, GELU",
    )
    layers: Positive = Field(4, description="Attention layers, each followed by a feed-forward layer")
    hidden: Positive = Field(64, description="Width of the residual stream")
    heads: Positive = Field(8, description="Attention heads per layer")
    key_value_heads: Positive | None = Field(None, description="Heads that hold keys and values; default: `heads`")
    head_width: Whole = Field(8, ge=2, multiple_of=2, description="Width of one head; even, for rotary positions")
    feed_forward: Whole = Field(192, ge=0, description="Width of the feed-forward layers; 0: attention alone")
    positions: Positive = Field(256, description="Longest sequence, in tokens")
    window: Positive | None = Field(None, description="Sliding window in tokens; default: attend to all positions")

    @model_validator(mode="after")
    def _heads_divide(self) -> "Decoder":
        if self.key_value_heads and self.heads % self.key_value_heads:
            raise ValueError(
                f"key_value_heads {self.key_value_heads} does not divide heads {self.heads}: choose a divisor"
            )
        return self

    @model_validator(mode="after")
    def _gpt2_shape(self) -> "Decoder":
        if self.architecture != "gpt2":
            return self
        if self.window is not None or self.key_value_heads not in (None, self.heads):
            raise ValueError(
                "architecture gpt2 has neither a window nor shared key_value_heads: leave both out, or choose llama"
            )
        if self.heads * self.head_width != self.hidden:
            raise ValueError(
                f"architecture gpt2 splits hidden among its heads, and {self.heads} heads of head_width "
                f"{self.head_width} are not hidden {self.hidden}: change one of the three"
            )
        return self


class Training(Section):
    """Training from scratch on random excerpts of the corpus, with linear warm-up."""

    steps: Positive = Field(450, description="Optimiser steps")
    batch: Positive = Field(4, description="Excerpts per step")
    tokens: Positive = Field(128, description="Tokens per excerpt")
    optimizer: Literal["adamw", "adam"] = Field("adamw", description="adam: without any weight decay")
    learning_rate: Rate = Field(6e-3, description="Peak learning rate, after warm-up")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="Learning rate after warm-up: half a cosine down to 0, or the peak to the end"
    )
    warmup: Whole = Field(50, ge=0, description="Steps of linear warm-up")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of AdamW")
    decayed: Literal["matrices", "all"] = Field(
        "matrices", description="What decays: weight matrices and embeddings, or gains and biases as well"
    )
    second_moment: float = Field(0.95, ge=0, lt=1, description="Decay rate of Adam's second moment (its β₂)")
    gradient_norm: Rate | None = Field(1.0, description="Longest gradient, longer ones are shortened; null: any")
    evaluate_every: Positive = Field(150, description="Steps between evaluations")
    until_loss: Rate | None = Field(
        None,
        description="Stop at the first evaluation at or below this loss on validation text (`corpus.validation`), nats "
        "per token, so that models are compared at one loss; `steps` is then the most; null: make all `steps`",
    )
    checkpoints: Annotated[list[Annotated[Whole, Field(ge=0)]], ONCE] = Field(
        [], description="Steps after which the model is kept as well, in a folder `stepN` of its checkpoint"
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="cpu: one thread, the same bytes every time")

    @model_validator(mode="after")
    def _adam_does_not_decay(self) -> "Training":
        if self.optimizer == "adam" and self.weight_decay > 0:
            raise ValueError(f"optimizer adam takes no weight_decay (got {self.weight_decay}): choose adamw, or 0")
        return self

    @model_validator(mode="after")
    def _checkpoints_are_reached(self) -> "Training":
        if late := [step for step in self.checkpoints if step > self.steps]:
            raise ValueError(f"checkpoints: step {late[0]} comes after the last of {self.steps} steps: choose 0 to it")
        return self


class Sft(Section):
    """Supervised fine-tuning on prompt and response pairs derived from the corpus; loss on the response alone."""

    steps: Positive = Field(40, description="Optimiser steps")
    batch: Positive = Field(16, description="Pairs per step")
    learning_rate: Rate = Field(7e-4, description="Peak learning rate, after warm-up")
    warmup: Whole = Field(5, ge=0, description="Steps of linear warm-up")


class Dpo(Section):
    """Direct preference optimisation (Rafailov et al. 2023) on preference pairs derived from the corpus."""

    steps: Positive = Field(40, description="Optimiser steps")
    batch: Positive = Field(8, description="Preference pairs per step")
    learning_rate: Rate = Field(1e-3, description="Peak learning rate, after warm-up")
    warmup: Whole = Field(5, ge=0, description="Steps of linear warm-up")
    beta: Rate = Field(0.1, description="Strength of the pull towards the reference model")


class Alignment(Section):
    """How aligned descendants are made."""

    sft: Sft = Sft()
    dpo: Dpo = Dpo()
