"""The tables of stability: numbers about groups of refits, origins of matches, the map of heads."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from headwise.analyses.stability.names import Analysis, Measure, TakenFrom, Version, Weights
from headwise.report.rows import IS_OUT_OF_BAND
from headwise.statistics.intervals import Interval
from headwise.statistics.multiplicity import benjamini_hochberg
from headwise.statistics.permutation import PermutationTest
from headwise.statistics.procedures import Procedure
from headwise.statistics.result import finite_or_none
from headwise.tables.row import Row, column

GROUP = "Group of refits, or the two groups of a contrast"
VERSION = "published: as Bali et al. (2026) compute it; corrected: ours"
WEIGHTS = "trained; random: models with random weights, the control"


@dataclass(frozen=True)
class StabilityRow(Row):
    """One number about a group of refits, with its uncertainty, chance level and test."""

    table: ClassVar[str] = "stability"
    group: str = column(GROUP)
    analysis: Analysis = column("What is measured; see docs/stability.md")
    version: Version = column(VERSION)
    weights: Weights = column(WEIGHTS, default=Weights.TRAINED)
    measure: Measure = column("What is compared, or how", default=Measure.COSINE)
    taken_from: TakenFrom | None = column("Site of the residual stream, matrix, or text; null: attention", default=None)
    words: int | None = column("Prompts cut to their first words; null: whole prompts", default=None)
    refit: int | None = column("Position of the refit in its group; null: all of them", default=None)
    layer: int | None = column("Layer; null: the model, as the mean over layers", default=None)
    head: int | None = column("Head; null: the layer, as the mean over heads", default=None)
    value: float | None = column("Null where undefined", default=None)
    ci_low: float | None = column("Lower end of the interval over refits", default=None)
    ci_high: float | None = column("Upper end of the interval over refits", default=None)
    chance: float | None = column("The same number where there is nothing to find", default=None)
    chance_corrected: float | None = column("(value − chance) / (1 − chance); of a contrast, its change", default=None)
    corrected_low: float | None = column("Lower end of the interval of chance_corrected", default=None)
    corrected_high: float | None = column("Upper end of the interval of chance_corrected", default=None)
    p: float | None = column("Two-sided p of a permutation test, before adjustment", default=None)
    p_attainable: float | None = column("The smallest p that this design can give", default=None)
    p_adjusted: float | None = column("p adjusted over layers or matrices (Benjamini–Hochberg)", default=None)
    n: int | None = column("Units that vary", default=None)
    method: str | None = column("How interval or test was made", default=None)
    procedure: Procedure | None = column("The calibrated procedure behind p; null: p is not calibrated", default=None)
    out_of_band: bool | None = column(IS_OUT_OF_BAND, default=None)
    margin: float | None = column(
        "Of a difference of losses: how large it may be at parity", unit="nats per token", default=None
    )
    within_margin: bool | None = column("Whether two one-sided t tests show that it is no larger: parity", default=None)
    reason: str | None = column("Why a number is missing, or what is special about it", default=None)

    def with_value(self, value: float, undefined: str) -> "StabilityRow":
        """The row with a number, or with the reason why there is none."""
        number = finite_or_none(value)
        return replace(self, value=number, reason=self.reason if number is not None else undefined)

    def with_interval(self, interval: Interval) -> "StabilityRow":
        """The row with an estimate and its interval."""
        return replace(
            self,
            value=interval.estimate,
            ci_low=interval.low,
            ci_high=interval.high,
            n=interval.n,
            method=interval.method,
            reason=interval.reason,
        )

    def with_chance(self, chance: float, corrected: Interval | float) -> "StabilityRow":
        """The row with its chance level, and what is left above it."""
        if isinstance(corrected, Interval):
            low, high, corrected_value = corrected.low, corrected.high, corrected.estimate
        else:
            low, high, corrected_value = None, None, finite_or_none(corrected)
        reason = self.reason
        if corrected_value is None and finite_or_none(chance) is not None:
            reason = "; ".join(filter(None, [reason, "chance alone reaches 1"]))
        return replace(
            self,
            chance=finite_or_none(chance),
            chance_corrected=corrected_value,
            corrected_low=low,
            corrected_high=high,
            reason=reason,
        )

    def with_test(self, test: PermutationTest, procedure: Procedure | None = None) -> "StabilityRow":
        """The row with an estimate and its permutation test, and what calibration calls that."""
        return replace(
            self,
            value=test.estimate,
            p=test.p,
            p_attainable=test.p_attainable,
            n=test.n,
            method=test.method,
            procedure=procedure,
            reason=test.reason,
        )


@dataclass(frozen=True, kw_only=True)
class Origin(Row):
    """In which layer of another refit the best matches of a layer's heads lie."""

    table: ClassVar[str] = "stability_origins"
    group: str = column(GROUP)
    weights: Weights = column(WEIGHTS)
    version: Version = column(VERSION)
    layer: int = column("Layer of the heads")
    origin_layer: int = column("Layer of the other refit that their best matches lie in")
    share: float | None = column("Share of the layer's matches", default=None)
    matches: int = column("Number of matches, over heads and pairs of refits")


@dataclass(frozen=True, kw_only=True)
class MappedHead(Row):
    """A head in the plane of the head map."""

    table: ClassVar[str] = "stability_head_map"
    group: str = column(GROUP)
    refit: int = column("Position of the refit in its group")
    layer: int = column("Layer")
    head: int = column("Head")
    x: float | None = column("First coordinate of t-SNE, without a unit", default=None)
    y: float | None = column("Second coordinate of t-SNE, without a unit", default=None)


def adjusted(rows: Iterable[StabilityRow], level: float) -> list[StabilityRow]:
    """The rows with p-values adjusted for their number (Benjamini and Hochberg 1995)."""
    rows = list(rows)
    if not rows:
        return rows
    p = benjamini_hochberg([row.p if row.p is not None else np.nan for row in rows], level).p
    return [replace(row, p_adjusted=finite_or_none(value)) for row, value in zip(rows, p, strict=True)]
