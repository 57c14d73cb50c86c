"""The section about forward passes: precision, device, template, what is kept."""

from typing import Literal

from pydantic import Field

from headwise.study.section import Section, Whole

Dtype = Literal["float32", "bfloat16", "float16"]
Template = Literal["raw", "chat"]


class Extraction(Section):
    """One forward pass per prompt, without padding."""

    dtype: Dtype = Field("float32", description="Precision of the forward pass")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where there is one")
    template: Template = Field("raw", description="chat: each prompt in the model's chat template")
    store: Literal["tensors", "statistics"] = Field(
        "tensors", description="statistics: do not store attention weights, only what estimators need"
    )
    max_tokens: Whole = Field(128, ge=2, description="A prompt with more tokens is an error, never cut")
