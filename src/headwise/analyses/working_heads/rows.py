"""The table of working heads."""

from dataclasses import dataclass
from typing import ClassVar

from headwise.tables.row import Row, column


@dataclass(frozen=True, kw_only=True)
class WorkingHeadsRow(Row):
    """Whether the heads of one model at one seed do anything; losses are means per held-out token."""

    table: ClassVar[str] = "working_heads"
    in_results: ClassVar[bool] = True
    model: str = column("Name of the model in the study file", heading="Model")
    base: str | None = column("Model that it descends from; null for a base", heading="Base", default=None)
    seed: int = column("Seed of the refit", heading="Refit")
    attention_worth_nats: float = column("Rise of the held-out loss where all attention layers write zeros")
    loss_nats: float = column("Held-out loss")
    bigram_loss_nats: float = column("Held-out loss of an interpolated bigram")
    previous_token: float | None = column(
        "Attention to the previous token of the head with the most, mean over prompts, 0 to 1; null: no prompt has two "
        "tokens",
        default=None,
    )
    layer: int | None = column("Layer of that head, counted from 0", default=None)
    head: int | None = column("That head, counted from 0", default=None)
    tokens_seen: int = column("Tokens that training of the base saw")
    bigram_tokens: int = column(
        "Tokens that the bigram was fitted on: as many, or what the text has where that is less, 20 million at most"
    )
    interpolation: float = column("Weight of the bigram against token frequencies (its λ), 0 to 1")
    attention_works: bool = column("Whether attention is worth as much as the study asks")
    below_bigram: bool = column("Whether the loss lies below that of the bigram")
    previous_token_works: bool = column("Whether a head attends to the previous token as much as the study asks")
    works: bool = column("All three: the model has working heads")
