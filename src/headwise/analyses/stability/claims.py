"""The claims of the abstract of Bali et al. (2026), each with a number and a verdict by a rule that stands here.

The rule is the same for all, and was written before refits were measured. (One number was changed after the first group
of refits: with the mean of the first and last layer instead of the lower one, stability that falls to the last layer
counted as a dip in the middle. The change makes the claim harder to support.) Each claim says that a number lies above
zero. As published, it is "supported" where the estimate is: one anchor has no interval. Corrected, it is "supported"
where the whole interval over refits lies above zero, "contradicted" where it lies below, "undecided" where it holds
zero, and "not testable" where there is no interval.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from headwise.analyses.stability.cka import LINEAR_DEBIASED, RBF_BIASED
from headwise.analyses.stability.contrasts import DEPTH_CONTRAST, WEIGHT_DECAY
from headwise.analyses.stability.cosines import SAME, WHOLE
from headwise.analyses.stability.group import Group
from headwise.analyses.stability.head_rows import distinctness_values
from headwise.analyses.stability.names import (
    BEFORE,
    CORRECTED,
    HEAD_STABILITY,
    HELD_OUT,
    MEAN,
    PROMPTS,
    PUBLISHED,
    RESIDUAL,
    TRAINED,
    VALUE_BIAS,
)
from headwise.analyses.stability.rows import Row
from headwise.analyses.stability.uncertainty import correlation, inner_dip
from headwise.statistics.intervals import Interval, t_interval
from headwise.statistics.ties import OF_ONE
from headwise.study.comparison import Comparison

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTABLE = "supported", "contradicted", "undecided", "not testable"


@dataclass(frozen=True)
class Claim:
    """A claim: its name, the sentence, what number it is about, and what was published.

    published         the published number, where the paper or its released data give one for an 8-layer, 8-head model
    published_source  where that number stands, or why there is none
    """

    name: str
    sentence: str
    number: str
    published: float | None
    published_source: str


CLAIMS = {
    claim.name: claim
    for claim in (
        Claim(
            "middle_least_stable",
            "Middle layers are the least stable",
            "stability of the first or the last layer, the lower one, less the mean of the layers between",
            min(0.970, 0.827) - (0.908 + 0.851 + 0.775 + 0.643 + 0.705 + 0.868) / 6,
            "from the layer means of 8 layers × 8 heads, Adam, 50 refits",
        ),
        Claim(
            "middle_most_distinct",
            "Middle layers are the most distinct",
            "mean distinctness of the layers between less that of the first or the last layer, the higher one",
            None,
            "a figure, without numbers",
        ),
        Claim(
            "deeper_larger_dip",
            "Deeper models have a larger gap between their most and least stable layers",
            "gap of the deepest group less gap of the shallowest",
            (0.970 - 0.643) - (0.969 - 0.837),
            "from the table of least and most stable layers, 8 against 2 layers of 8 heads, Adam",
        ),
        Claim(
            "unstable_deep_heads_matter",
            "In deep layers, unstable heads matter more",
            "minus the mean over the deeper half of layers of r between stability and importance",
            None,
            "a figure, without numbers",
        ),
        Claim(
            "weight_decay_helps",
            "Weight decay makes heads more stable",
            "change of stability, mean over layers",
            0.751 - 0.643,
            "of the least stable layer, from the table of least and most stable layers, 8 layers × 8 heads",
        ),
        Claim(
            "residual_stable",
            "The residual stream is more stable than heads are",
            "similarity of residual streams less stability of heads, mean over layers",
            None,
            "a figure, without numbers",
        ),
    )
}
COLUMNS = {
    "claim": "string",
    "statement": "string",
    "number": "string",
    "group": "string",
    "version": "string",
    "published_value": "float64",
    "published_source": "string",
    "value": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "chance": "float64",
    "n": "Int64",
    "verdict": "string",
    "reason": "string",
}


def verdict(version: str, estimate: float | None, low: float | None, high: float | None) -> str:
    """What the rule says of a number, of cosines or correlations, that is claimed to lie above zero."""
    if estimate is None:
        return NOT_TESTABLE
    if version == PUBLISHED:
        return SUPPORTED if estimate > OF_ONE else CONTRADICTED
    if low is None or high is None:
        return NOT_TESTABLE
    if low > OF_ONE:
        return SUPPORTED
    return CONTRADICTED if high < -OF_ONE else UNDECIDED


def claim_table(groups: Mapping[str, Group], rows: list[Row], settings: Comparison) -> pd.DataFrame:
    """A row per claim, group or contrast, and version."""
    found = []
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
        if row.analysis == DEPTH_CONTRAST:
            found.append(_entry("deeper_larger_dip", row.group, row.version, row, row.chance))
        if row.analysis == WEIGHT_DECAY and row.layer is None:
            found.append(_entry("weight_decay_helps", row.group, row.version, row, row.chance))
    order = {name: place for place, name in enumerate(CLAIMS)}
    found.sort(key=lambda entry: order[str(entry["claim"])])
    return pd.DataFrame(found, columns=list(COLUMNS)).astype(COLUMNS)


def _entry(name: str, group: str, version: str, row: Row | Interval, chance: float | None) -> dict[str, object]:
    """A row of the table of claims, from an estimate with its interval."""
    claim = CLAIMS[name]
    if isinstance(row, Interval):
        value, low, high, n, reason = row.estimate, row.low, row.high, row.n, row.reason
    else:
        value, low, high, n, reason = row.value, row.ci_low, row.ci_high, row.n or 0, row.reason
    return {
        "claim": name,
        "statement": claim.sentence,
        "number": claim.number,
        "group": group,
        "version": version,
        "published_value": claim.published,
        "published_source": claim.published_source,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "chance": chance,
        "n": n,
        "verdict": verdict(version, value, low, high),
        "reason": reason,
    }


def _find(rows: list[Row], **fields: object) -> Row | None:
    return next((row for row in rows if all(getattr(row, name) == value for name, value in fields.items())), None)


def _dip(rows: list[Row], group: Group, version: str) -> dict[str, object]:
    row = _find(rows, analysis="inner_dip", version=version, measure=WHOLE.measure)
    assert row is not None, "every group has this row"
    layers = [each.chance for each in rows if each.version == version and _is_layer(each)]
    chance = float(inner_dip(np.array([np.nan if each is None else each for each in layers])))
    return _entry("middle_least_stable", group.name, version, row, chance if np.isfinite(chance) else None)


def _is_layer(row: Row) -> bool:
    """Whether a row is the stability of a layer on whole prompts."""
    single = row.layer is not None and row.head is None
    return single and row.analysis == HEAD_STABILITY and row.measure == WHOLE.measure and row.words is None


def _distinct(group: Group, version: str, settings: Comparison) -> dict[str, object]:
    interval = t_interval(inner_dip(-distinctness_values(group, version)), settings.level)
    return _entry("middle_most_distinct", group.name, version, interval, None)


def _importance(group: Group, version: str, settings: Comparison) -> Iterator[dict[str, object]]:
    """Units are refits: of each, the mean over the deeper half of its layers."""
    if group.importance.empty:
        return
    of_published = ("delta_perplexity", PROMPTS, VALUE_BIAS)
    importance = group.importance_values(
        *(of_published if version == PUBLISHED else ("delta_loss_nats", HELD_OUT, MEAN))
    )
    stability = group.head_values(HEAD_STABILITY, version, WHOLE.measure, SAME)
    deeper = range(importance.shape[1] // 2, importance.shape[1])
    values = [
        -np.mean([correlation(importance[refit, layer], stability[refit, layer]) for layer in deeper])
        for refit in range(len(importance))
    ]
    yield _entry("unstable_deep_heads_matter", group.name, version, t_interval(values, settings.level), 0.0)


def _residual(rows: list[Row], group: Group, version: str) -> Iterator[dict[str, object]]:
    kernel = RBF_BIASED if version == PUBLISHED else LINEAR_DEBIASED
    stream = _find(rows, analysis=RESIDUAL, version=version, measure=kernel, part=BEFORE, layer=None)
    heads = _find(rows, analysis=HEAD_STABILITY, version=version, measure=WHOLE.measure, layer=None, words=None)
    if stream is None or heads is None or stream.value is None or heads.value is None:
        return
    # The two intervals are not independent; their ends apart make the difference's no narrower than it is.
    ends = [end for end in (stream.ci_low, stream.ci_high, heads.ci_low, heads.ci_high) if end is not None]
    low = high = None
    if len(ends) == 4:
        low, high = ends[0] - ends[3], ends[1] - ends[2]
    chance = None if stream.chance is None or heads.chance is None else stream.chance - heads.chance
    interval = Interval(stream.value - heads.value, low, high, 0.0, stream.n or 0, "difference of two intervals")
    yield _entry("residual_stable", group.name, version, interval, chance)
