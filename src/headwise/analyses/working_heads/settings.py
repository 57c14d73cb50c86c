"""The section about working heads: from when on a difference between heads means something."""

from pydantic import Field

from headwise.study.section import Section

# Held-out text that losses are measured on, at most: 64 excerpts of 128 tokens.
HELD_OUT_TOKENS = 8192


class WorkingHeads(Section):
    """What heads must do for a model to have working heads; it must besides predict better than a bigram."""

    attention_worth: float = Field(
        0.5, ge=0, description="Held-out loss rises by this at least without all attention, nats per token"
    )
    previous_token: float = Field(
        0.5, ge=0, le=1, description="Some head attends to the previous token by this at least, mean over prompts"
    )


SECTIONS = {
    "working_heads": (
        WorkingHeads | None,
        Field(
            WorkingHeads(), description="Whether heads of models that are trained here do anything; null: not measured"
        ),
    )
}
