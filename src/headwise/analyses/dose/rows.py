"""The table of doses."""

from dataclasses import dataclass
from typing import ClassVar

from headwise.report.rows import REASON
from headwise.tables.row import Row, column


@dataclass(frozen=True, kw_only=True)
class AlignmentDose(Row):
    """How far one aligned model is from its base, and what alignment taught it, in one refit."""

    table: ClassVar[str] = "dose"
    in_results: ClassVar[bool] = True
    model: str = column("Name of the model in the study file", heading="Model")
    base: str = column("Model that it was made from", heading="Base")
    method: str | None = column("Method of its alignment; null where the study does not say", default=None)
    placebo: bool = column("Whether it takes the steps of its method without what the method teaches")
    dose: int | None = column(
        "Multiple of the optimiser steps of its method; null for a model made elsewhere", default=None
    )
    steps: int | None = column("Optimiser steps; null for a model made elsewhere", default=None)
    seed: int = column("Refit of a model that the study trains; else the protocol's seed", heading="Refit")
    kl_nats: float | None = column(
        "KL(aligned || base) of the next token: mean over all positions of the prompts",
        heading="KL from its base",
        unit="nats per token",
        default=None,
    )
    displacement: float | None = column(
        "Norm of the change of all weights over the norm of the base's weights, 0 or more",
        heading="Weights moved by",
        default=None,
    )
    accuracy_before: float | None = column(
        "Share of held-out pairs of which the base finds the chosen response likelier", default=None
    )
    accuracy_after: float | None = column("The same of the aligned model", default=None)
    answer_loss_before: float | None = column(
        "Cross-entropy of the chosen responses of held-out pairs under the base", unit="nats per token", default=None
    )
    answer_loss_after: float | None = column("The same under the aligned model", unit="nats per token", default=None)
    positions: int = column("Positions that the mean of KL is over; 0 where it is not defined")
    reason: str | None = column(REASON, default=None)


TABLES = (AlignmentDose,)
