"""Numbers about a group of refits that claims are about: each says that one lies above zero (`headwise.published`)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np
import pandas as pd

from headwise.analyses.stability.cka import LINEAR_DEBIASED, RBF_BIASED
from headwise.analyses.stability.cosines import SAME, WHOLE
from headwise.analyses.stability.group import Group
from headwise.analyses.stability.head_rows import distinctness_values
from headwise.analyses.stability.names import (
    BEFORE,
    CORRECTED,
    HELD_OUT,
    PROMPTS,
    PUBLISHED,
    TRAINED,
    Analysis,
    Replacement,
    Version,
)
from headwise.analyses.stability.rows import GROUP, VERSION, StabilityRow
from headwise.analyses.stability.uncertainty import correlation, inner_dip
from headwise.statistics.intervals import Interval, t_interval
from headwise.study.comparison import Comparison
from headwise.tables.frame import frame_of
from headwise.tables.row import Row, column


class Quantity(StrEnum):
    """A number of a group, or of two groups that are contrasted; what each is stands in DEFINITIONS."""

    STABILITY_DIP = "stability_dip"
    DISTINCTNESS_RISE = "distinctness_rise"
    DEPTH_GAP = "depth_gap"
    IMPORTANCE_OF_UNSTABLE = "importance_of_unstable"
    WEIGHT_DECAY_CHANGE = "weight_decay_change"
    RESIDUAL_ABOVE_HEADS = "residual_above_heads"


DEFINITIONS = {
    Quantity.STABILITY_DIP: "stability of the first or the last layer, the lower one, less the mean of the layers "
    "between",
    Quantity.DISTINCTNESS_RISE: "mean distinctness of the layers between less that of the first or the last layer, "
    "the higher one",
    Quantity.DEPTH_GAP: "gap of the deepest group less gap of the shallowest",
    Quantity.IMPORTANCE_OF_UNSTABLE: "minus the mean over the deeper half of layers of r between stability and "
    "importance",
    Quantity.WEIGHT_DECAY_CHANGE: "change of stability, mean over layers",
    Quantity.RESIDUAL_ABOVE_HEADS: "similarity of residual streams less stability of heads, mean over layers",
}


@dataclass(frozen=True, kw_only=True)
class StabilityQuantity(Row):
    """One number of a group or contrast, as published or corrected."""

    table: ClassVar[str] = "stability_quantities"
    quantity: Quantity = column("Which number")
    group: str = column(GROUP)
    version: Version = column(VERSION)
    value: float | None = column("The number in this study", default=None)
    ci_low: float | None = column("Lower end of the interval over refits", default=None)
    ci_high: float | None = column("Upper end of the interval over refits", default=None)
    chance: float | None = column("The same number at the chance level", default=None)
    n: int | None = column("Refits", default=None)
    reason: str | None = column("Why a number is missing, or what is special about it", default=None)


def quantity_table(groups: Mapping[str, Group], rows: list[StabilityRow], settings: Comparison) -> pd.DataFrame:
    """A row per quantity, group or contrast, and version."""
    found: list[StabilityQuantity] = []
    for group in groups.values():
        mine = [row for row in rows if row.group == group.name and row.weights == TRAINED]
        for version in (PUBLISHED, CORRECTED):
            found += [
                _dip(mine, group, version),
                _distinct(group, version, settings),
                *_importance(group, version, settings),
                *_residual(mine, group, version),
            ]
    for row in rows:
        if row.analysis == Analysis.DEPTH_CONTRAST:
            found.append(_entry(Quantity.DEPTH_GAP, row.group, row.version, row, row.chance))
        if row.analysis == Analysis.WEIGHT_DECAY and row.layer is None:
            found.append(_entry(Quantity.WEIGHT_DECAY_CHANGE, row.group, row.version, row, row.chance))
    order = list(Quantity)
    found.sort(key=lambda entry: order.index(entry.quantity))
    return frame_of(StabilityQuantity, found)


def _entry(
    quantity: Quantity, group: str, version: Version, row: StabilityRow | Interval, chance: float | None
) -> StabilityQuantity:
    """A row of the table, from an estimate with its interval."""
    if isinstance(row, Interval):
        value, low, high, n, reason = row.estimate, row.low, row.high, row.n, row.reason
    else:
        value, low, high, n, reason = row.value, row.ci_low, row.ci_high, row.n or 0, row.reason
    return StabilityQuantity(
        quantity=quantity,
        group=group,
        version=version,
        value=value,
        ci_low=low,
        ci_high=high,
        chance=chance,
        n=n,
        reason=reason,
    )


def _find(rows: list[StabilityRow], **fields: object) -> StabilityRow | None:
    return next((row for row in rows if all(getattr(row, name) == value for name, value in fields.items())), None)


def _dip(rows: list[StabilityRow], group: Group, version: Version) -> StabilityQuantity:
    row = _find(rows, analysis=Analysis.INNER_DIP, version=version, measure=WHOLE.measure)
    assert row is not None, "every group has this row"
    layers = [each.chance for each in rows if each.version == version and _is_layer(each)]
    chance = float(inner_dip(np.array([np.nan if each is None else each for each in layers])))
    return _entry(Quantity.STABILITY_DIP, group.name, version, row, chance if np.isfinite(chance) else None)


def _is_layer(row: StabilityRow) -> bool:
    """Whether a row is the stability of a layer on whole prompts."""
    single = row.layer is not None and row.head is None
    return single and row.analysis == Analysis.HEAD_STABILITY and row.measure == WHOLE.measure and row.words is None


def _distinct(group: Group, version: Version, settings: Comparison) -> StabilityQuantity:
    interval = t_interval(inner_dip(-distinctness_values(group, version)), settings.level)
    return _entry(Quantity.DISTINCTNESS_RISE, group.name, version, interval, None)


def _importance(group: Group, version: Version, settings: Comparison) -> Iterator[StabilityQuantity]:
    """Units are refits: of each, the mean over the deeper half of its layers."""
    if group.importance.empty:
        return
    of_published = ("delta_perplexity", PROMPTS, Replacement.VALUE_BIAS)
    importance = group.importance_values(
        *(of_published if version == PUBLISHED else ("delta_loss_nats", HELD_OUT, Replacement.MEAN))
    )
    stability = group.head_values(Analysis.HEAD_STABILITY, version, WHOLE.measure, SAME)
    deeper = range(importance.shape[1] // 2, importance.shape[1])
    values = [
        -np.mean([correlation(importance[refit, layer], stability[refit, layer]) for layer in deeper])
        for refit in range(len(importance))
    ]
    yield _entry(Quantity.IMPORTANCE_OF_UNSTABLE, group.name, version, t_interval(values, settings.level), 0.0)


def _residual(rows: list[StabilityRow], group: Group, version: Version) -> Iterator[StabilityQuantity]:
    kernel = RBF_BIASED if version == PUBLISHED else LINEAR_DEBIASED
    stream = _find(rows, analysis=Analysis.RESIDUAL, version=version, measure=kernel, taken_from=BEFORE, layer=None)
    heads = _find(
        rows, analysis=Analysis.HEAD_STABILITY, version=version, measure=WHOLE.measure, layer=None, words=None
    )
    if stream is None or heads is None or stream.value is None or heads.value is None:
        return
    # The two intervals are not independent; their ends apart make the difference's no narrower than it is.
    ends = [end for end in (stream.ci_low, stream.ci_high, heads.ci_low, heads.ci_high) if end is not None]
    low = high = None
    if len(ends) == 4:
        low, high = ends[0] - ends[3], ends[1] - ends[2]
    chance = None if stream.chance is None or heads.chance is None else stream.chance - heads.chance
    interval = Interval(stream.value - heads.value, low, high, 0.0, stream.n or 0, "difference of two intervals")
    yield _entry(Quantity.RESIDUAL_ABOVE_HEADS, group.name, version, interval, chance)
