"""What a test says in plain words, after adjustment for how many tests there are.

A test that could not have become significant whatever the data is called undecidable, never "no effect".
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from headwise.report.labels import amount, missing, p_value
from headwise.statistics.multiplicity import benjamini_hochberg, holm
from headwise.study.comparison import Comparison
from headwise.tables.frame import records

CONFIRMATORY = "confirmatory"
EXPLORATORY = "exploratory"
REPEAT = "repeat"
ADJUSTED = {
    "p": "p_adjusted",
    "p_attainable": "p_adjusted_attainable",
    "p_equivalence": "p_equivalence_adjusted",
}
METHODS = {CONFIRMATORY: holm, EXPLORATORY: benjamini_hochberg}

# How to say that an estimate is below or above zero, by what was compared.
DIRECTIONS = {
    "comparison": ("decreased", "increased"),
    "architecture": ("lower than the reference", "higher than the reference"),
    "architecture_by_seed": ("lower than the reference", "higher than the reference"),
    "alignment_difference": ("change lies below the reference's", "change lies above the reference's"),
    "alignment_pooled": ("decreased", "increased"),
    "alignment_random_effects": ("decreased", "increased"),
    "alignment_without_family": ("decreased", "increased"),
}


def roles(declared: "pd.Series[bool]", repeat: "pd.Series[bool] | None" = None) -> "pd.Series[str]":
    """The role of each test: confirmatory where declared, else exploratory.

    Where `repeat` is true it is "repeat": the test repeats one of the same weights, and counts as none.
    """
    named = declared.map({True: CONFIRMATORY, False: EXPLORATORY}).astype("string")
    return named if repeat is None else named.mask(repeat, REPEAT)


def adjust(tests: pd.DataFrame, family: list[str]) -> pd.DataFrame:
    """The tests with their adjusted p-values.

    `tests` has the columns role, p and p_attainable (both null where there was no test), and those named in
    `family`. All confirmatory tests are adjusted together by Holm (1979); exploratory ones that agree in all columns
    of `family` by Benjamini and Hochberg (1995), repeats not at all. Where there is a p_equivalence it is adjusted in
    the same way, on its own.

    Adds p_adjusted; p_adjusted_attainable, the adjusted p in the most favourable outcome, where every test of
    the family reaches the smallest p that its design can give; adjustment, in words; and p_equivalence_adjusted.
    """
    columns = [name for name in ("p", "p_attainable", "p_equivalence") if name in tests]
    adjusted = tests.assign(**{ADJUSTED[name]: np.nan for name in columns})
    adjusted["adjustment"] = pd.Series(pd.NA, index=tests.index, dtype="string")
    exploratory = tests[tests["role"] == EXPLORATORY]
    groups = [group for _, group in exploratory.groupby(family, dropna=False, sort=False)]
    confirmatory = tests[tests["role"] == CONFIRMATORY]
    for group in [confirmatory, *groups] if len(confirmatory) else groups:
        method = METHODS[group["role"].iloc[0]]
        for name in columns:
            result = method(group[name].to_numpy(np.float64, na_value=np.nan))
            adjusted.loc[group.index, ADJUSTED[name]] = result.p
            if name == "p":
                words = f"{result.method} over {amount(result.tests, 'test')}"
                adjusted.loc[group.index[group["p"].notna()], "adjustment"] = words
    return adjusted


def side(estimate: object, low: object, high: object) -> int:
    """On which side of 0 an estimate lies together with its whole interval: −1 below, 1 above.

    0 where that cannot be told: the interval holds 0 or is missing, or the estimate lies elsewhere. No word for a
    direction stands on the page or in the terminal without it.
    """
    if missing(estimate) or missing(low) or missing(high):
        return 0
    ends = [float(str(each)) for each in (estimate, low, high)]
    return 1 if min(ends) > 0 else -1 if max(ends) < 0 else 0


def shown(test: Mapping[str, Any], level: float) -> int:
    """The side of 0 on which an adjusted test and its interval both see a change; 0 where they do not."""
    if missing(test["p_adjusted"]) or test["p_adjusted"] > level:
        return 0
    return side(test["estimate"], test["ci_low"], test["ci_high"])


def verdict(test: Mapping[str, Any], settings: Comparison, directions: tuple[str, str]) -> str:
    """What one adjusted test says, at the level of the study.

    `test` has role, estimate, ci_low, ci_high, p_adjusted, p_adjusted_attainable, p_attainable and reason; where
    equivalence was tested also p_equivalence_adjusted and equivalence_margin. An empty value is None. `directions` says
    below and above zero in words; it is said where the interval shows it as well (`side`).
    """
    if test["role"] == REPEAT:
        return "repeats an earlier seed: same weights"
    if missing(test["p_adjusted"]):
        return f"not tested: {test['reason']}" if test["reason"] else "not tested"
    margin, p_equivalence = test.get("equivalence_margin"), test.get("p_equivalence_adjusted")
    within = p_equivalence is not None and p_equivalence <= settings.level
    if direction := shown(test, settings.level):
        words = directions[0] if direction < 0 else directions[1]
        return f"{words}, by less than {margin:g}" if within else words
    if within:
        return f"preserved (within ±{margin:g})"
    if test["p_adjusted"] <= settings.level:
        return "undecided: the test finds a change, the interval shows no direction"
    if test["p_attainable"] is not None and test["p_attainable"] > settings.level:
        return f"undecidable: the smallest attainable p is {p_value(test['p_attainable'])}"
    attainable = test["p_adjusted_attainable"]
    if attainable is not None and attainable > settings.level:
        return f"undecidable: the smallest attainable adjusted p is {p_value(attainable)}"
    return "undecided"


def verdicts(tests: pd.DataFrame, settings: Comparison, kinds: Iterable[str]) -> list[str]:
    """The verdict of every row; `kinds` says by row what was compared, a key of DIRECTIONS."""
    rows = zip(records(tests), kinds, strict=True)
    return [verdict(row, settings, DIRECTIONS[kind]) for row, kind in rows]
