"""The claims of the abstract of Bali et al. (2026), each with a number and a verdict by a rule that stands here.

The rule is the same for all, and was written before refits were measured. (One number was changed after the first group
of refits: with the mean of the first and last layer instead of the lower one, stability that falls to the last layer
counted as a dip in the middle. The change makes the claim harder to support.) Each claim says that a number lies above
zero. As published, it is "supported" where the estimate is: one anchor has no interval. Corrected, it is "supported"
where the whole interval over refits lies above zero, "contradicted" where it lies below, "undecided" where it holds
zero, and "not testable" where there is no interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import pandas as pd

from headwise.analyses.stability.names import PUBLISHED
from headwise.analyses.stability.quantities import DEFINITIONS, Quantity, StabilityQuantity
from headwise.statistics.ties import OF_ONE
from headwise.study.study import Study
from headwise.tables.frame import frame_of, records
from headwise.tables.row import Row, column


class Verdict(StrEnum):
    """What the rule says of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_TESTABLE = "not testable"


@dataclass(frozen=True)
class Claim:
    """A claim: its name, the sentence, and what was published.

    published         the published number, where the paper or its released data give one for an 8-layer, 8-head model
    published_source  where that number stands, or why there is none
    """

    name: str
    sentence: str
    published: float | None
    published_source: str


# By the number that is claimed to lie above zero.
CLAIMS = {
    Quantity.STABILITY_DIP: Claim(
        "middle_least_stable",
        "Middle layers are the least stable",
        min(0.970, 0.827) - (0.908 + 0.851 + 0.775 + 0.643 + 0.705 + 0.868) / 6,
        "from the layer means of 8 layers × 8 heads, Adam, 50 refits",
    ),
    Quantity.DISTINCTNESS_RISE: Claim(
        "middle_most_distinct", "Middle layers are the most distinct", None, "a figure, without numbers"
    ),
    Quantity.DEPTH_GAP: Claim(
        "deeper_larger_dip",
        "Deeper models have a larger gap between their most and least stable layers",
        (0.970 - 0.643) - (0.969 - 0.837),
        "from the table of least and most stable layers, 8 against 2 layers of 8 heads, Adam",
    ),
    Quantity.IMPORTANCE_OF_UNSTABLE: Claim(
        "unstable_deep_heads_matter", "In deep layers, unstable heads matter more", None, "a figure, without numbers"
    ),
    Quantity.WEIGHT_DECAY_CHANGE: Claim(
        "weight_decay_helps",
        "Weight decay makes heads more stable",
        0.751 - 0.643,
        "of the least stable layer, from the table of least and most stable layers, 8 layers × 8 heads",
    ),
    Quantity.RESIDUAL_ABOVE_HEADS: Claim(
        "residual_stable", "The residual stream is more stable than heads are", None, "a figure, without numbers"
    ),
}


@dataclass(frozen=True, kw_only=True)
class StabilityClaim(Row):
    """One claim in one group or contrast, as published or corrected."""

    table: ClassVar[str] = "stability_claims"
    in_results: ClassVar[bool] = True
    claim: str = column("Name of the claim")
    statement: str = column("The claim, as in the abstract of Bali et al. (2026)", heading="Claim")
    number: str = column("The number that is claimed to lie above zero")
    group: str = column("Group of refits, or the two groups of a contrast", heading="Group")
    version: str = column("published: as Bali et al. (2026) compute it; corrected: ours", heading="Version")
    published_value: float | None = column("The number as published", heading="Published", default=None)
    published_source: str = column("Where the published number stands, or why there is none")
    value: float | None = column("The number in this study", heading="Here", default=None)
    ci_low: float | None = column("Lower end of the interval over refits", default=None)
    ci_high: float | None = column("Upper end of the interval over refits", default=None)
    chance: float | None = column("The same number at the chance level", heading="Chance", default=None)
    n: int | None = column("Refits", default=None)
    verdict: Verdict = column("By the rule in docs/stability.md", heading="Verdict")
    reason: str | None = column("Why a number is missing, or what is special about it", default=None)


def verdict(version: str, estimate: float | None, low: float | None, high: float | None) -> Verdict:
    """What the rule says of a number, of cosines or correlations, that is claimed to lie above zero."""
    if estimate is None:
        return Verdict.NOT_TESTABLE
    if version == PUBLISHED:
        return Verdict.SUPPORTED if estimate > OF_ONE else Verdict.CONTRADICTED
    if low is None or high is None:
        return Verdict.NOT_TESTABLE
    if low > OF_ONE:
        return Verdict.SUPPORTED
    return Verdict.CONTRADICTED if high < -OF_ONE else Verdict.UNDECIDED


def judged_claims(study: Study, tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The table of claims, where the study compares refits; from its finished table of quantities."""
    if StabilityQuantity.table not in tables:
        return {}
    rows = [_judged(row) for row in records(tables[StabilityQuantity.table])]
    return {StabilityClaim.table: frame_of(StabilityClaim, rows)}


def _judged(row: Mapping[str, object]) -> dict[str, object]:
    quantity = Quantity(str(row["quantity"]))
    claim = CLAIMS[quantity]
    numbers = {name: row[name] for name in ("group", "version", "value", "ci_low", "ci_high", "chance", "n", "reason")}
    return {
        "claim": claim.name,
        "statement": claim.sentence,
        "number": DEFINITIONS[quantity],
        "published_value": claim.published,
        "published_source": claim.published_source,
        "verdict": verdict(*(row[name] for name in ("version", "value", "ci_low", "ci_high"))),  # type: ignore[arg-type]  # cells of a checked table
        **numbers,
    }
