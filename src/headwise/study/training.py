"""Sections about making models: shape, training from scratch, alignment."""

from pydantic import Field, model_validator

from headwise.study.section import Positive, Rate, Section


class Decoder(Section):
    """Shape of the Llama-style decoders that are trained here; what all of them share."""

    layers: Positive = Field(4, description="Attention layers, each followed by a feed-forward layer")
    hidden: Positive = Field(64, description="Width of the residual stream")
    heads: Positive = Field(8, description="Attention heads per layer")
    key_value_heads: Positive | None = Field(None, description="Heads that hold keys and values; default: `heads`")
    head_width: int = Field(8, ge=2, multiple_of=2, description="Width of one head; even, for rotary positions")
    feed_forward: Positive = Field(192, description="Width of the feed-forward layers")
    positions: Positive = Field(256, description="Longest sequence, in tokens")
    window: Positive | None = Field(None, description="Sliding window in tokens; default: attend to all positions")

    @model_validator(mode="after")
    def _heads_divide(self) -> "Decoder":
        if self.key_value_heads and self.heads % self.key_value_heads:
            raise ValueError(
                f"key_value_heads {self.key_value_heads} does not divide heads {self.heads}: choose a divisor"
            )
        return self


class Training(Section):
    """Training from scratch: AdamW on random excerpts of the corpus, linear warm-up, cosine decay."""

    steps: Positive = Field(450, description="Optimiser steps")
    batch: Positive = Field(4, description="Excerpts per step")
    tokens: Positive = Field(128, description="Tokens per excerpt")
    learning_rate: Rate = Field(6e-3, description="Peak learning rate, after warm-up")
    warmup: int = Field(50, ge=0, description="Steps of linear warm-up")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of AdamW")
    evaluate_every: Positive = Field(150, description="Steps between evaluations on held-out text")


class Sft(Section):
    """Supervised fine-tuning on prompt and response pairs derived from the corpus; loss on the response alone."""

    steps: Positive = Field(40, description="Optimiser steps")
    batch: Positive = Field(16, description="Pairs per step")
    learning_rate: Rate = Field(7e-4, description="Peak learning rate, after warm-up")
    warmup: int = Field(5, ge=0, description="Steps of linear warm-up")


class Dpo(Section):
    """Direct preference optimisation (Rafailov et al. 2023) on preference pairs derived from the corpus."""

    steps: Positive = Field(40, description="Optimiser steps")
    batch: Positive = Field(8, description="Preference pairs per step")
    learning_rate: Rate = Field(1e-3, description="Peak learning rate, after warm-up")
    warmup: int = Field(5, ge=0, description="Steps of linear warm-up")
    beta: Rate = Field(0.1, description="Strength of the pull towards the reference model")


class Alignment(Section):
    """How aligned descendants are made."""

    sft: Sft = Sft()
    dpo: Dpo = Dpo()
