"""Rows of the table of stability: one per number, with its uncertainty, chance level and test."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, get_args

import numpy as np
import pandas as pd

from headwise.statistics.intervals import Interval
from headwise.statistics.multiplicity import benjamini_hochberg
from headwise.statistics.permutation import PermutationTest


@dataclass(frozen=True)
class Row:
    """One number about a group of refits.

    analysis          what is measured
    version           published: the estimator of Bali et al. (2026) as its code computes it; corrected: ours
    weights           trained, or random: the control
    measure           what is compared, or how; see docs/stability.md
    part              site of the residual stream, matrix, text; null where the number is of attention
    words             prompts cut to their first words; null for whole prompts
    refit             position of the refit in its group; null for a number about the group
    layer, head       null for a number about the model, or about the layer
    value             null where undefined
    chance            the same number where there is nothing to find
    chance_corrected  (value − chance) / (1 − chance)
    n                 units that vary
    reason            why the value, the interval or the test is missing, or what is special about it
    """

    group: str
    analysis: str
    version: str
    weights: str = "trained"
    measure: str = ""
    part: str | None = None
    words: int | None = None
    refit: int | None = None
    layer: int | None = None
    head: int | None = None
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    chance: float | None = None
    chance_corrected: float | None = None
    corrected_low: float | None = None
    corrected_high: float | None = None
    p: float | None = None
    p_attainable: float | None = None
    p_adjusted: float | None = None
    n: int | None = None
    method: str | None = None
    reason: str | None = None

    def with_value(self, value: float, undefined: str) -> "Row":
        """The row with a number, or with the reason why there is none."""
        number = finite(value)
        return replace(self, value=number, reason=self.reason if number is not None else undefined)

    def with_interval(self, interval: Interval) -> "Row":
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

    def with_chance(self, chance: float, corrected: Interval | float) -> "Row":
        """The row with its chance level, and what is left above it."""
        if isinstance(corrected, Interval):
            low, high, corrected_value = corrected.low, corrected.high, corrected.estimate
        else:
            low, high, corrected_value = None, None, finite(corrected)
        reason = self.reason
        if corrected_value is None and finite(chance) is not None:
            reason = "; ".join(filter(None, [reason, "chance alone reaches 1"]))
        return replace(
            self,
            chance=finite(chance),
            chance_corrected=corrected_value,
            corrected_low=low,
            corrected_high=high,
            reason=reason,
        )

    def with_test(self, test: PermutationTest) -> "Row":
        """The row with an estimate and its permutation test."""
        return replace(
            self,
            value=test.estimate,
            p=test.p,
            p_attainable=test.p_attainable,
            n=test.n,
            method=test.method,
            reason=test.reason,
        )


def adjusted(rows: Iterable[Row], level: float) -> list[Row]:
    """The rows with p-values adjusted for their number (Benjamini and Hochberg 1995)."""
    rows = list(rows)
    if not rows:
        return rows
    p = benjamini_hochberg([row.p if row.p is not None else np.nan for row in rows], level).p
    return [replace(row, p_adjusted=finite(value)) for row, value in zip(rows, p, strict=True)]


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """The rows as a table, columns in the order of `Row`."""
    types: dict[Any, Any] = {str: "string", int: "Int64", float: "float64"}
    columns = {field.name: types[(get_args(field.type) or (field.type,))[0]] for field in fields(Row)}
    table = pd.DataFrame([asdict(row) for row in rows], columns=list(columns))
    return table.astype(columns)


def finite(value: float) -> float | None:
    """The number, or None for NaN and infinity."""
    return float(value) if np.isfinite(value) else None
