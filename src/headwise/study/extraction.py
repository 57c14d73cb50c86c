"""The section about forward passes: precision, device, what a text begins with, what is kept."""

import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from headwise.study.section import Section, Whole

Dtype = Literal["float32", "bfloat16", "float16"]
Template = Literal["raw", "chat"]
FirstToken = Literal["tokenizer", "none", "bos"]

# The day that chat templates take for today.
DATE = "2026-01-01"


def _as_text(value: Any) -> Any:
    """YAML reads a date that is not quoted as a date."""
    is_date = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    return value.isoformat() if is_date else value


def _of_the_calendar(value: str) -> str:
    try:
        return datetime.date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError(f"'{value}' is no date: write it as in '{DATE}'") from None


Date = Annotated[str, BeforeValidator(_as_text), AfterValidator(_of_the_calendar)]


class Extraction(Section):
    """One forward pass per prompt, without padding."""

    dtype: Dtype = Field("float32", description="Precision of the forward pass")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where there is one")
    template: Template = Field("raw", description="chat: each prompt in the model's chat template")
    first_token: FirstToken = Field(
        "tokenizer",
        description="What raw text begins with: what the tokenizer itself puts there, which may be nothing; none; or "
        "its BOS token. A chat template writes its own beginning",
    )
    date: Date = Field(DATE, description="What chat templates that ask for today's date are told")
    store: Literal["tensors", "statistics"] = Field(
        "tensors", description="statistics: do not store attention weights, only what estimators need"
    )
    max_tokens: Whole = Field(128, ge=2, description="A prompt with more tokens is an error, never cut")

    def as_recorded(self, asks_for_the_date: bool = False) -> dict[str, str | None]:
        """What files record of how text was read; the date only where a chat template was told it: here, or, as the
        caller says, elsewhere."""
        told = asks_for_the_date or self.template == "chat"
        return {"template": self.template, "first_token": self.first_token, "date": self.date if told else None}
