"""What a test says in plain words, after adjustment for how many tests there are.

A test that could not have become significant whatever the data is called undecidable, never "no effect".
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from headwise.report.labels import OUT_OF_BAND, amount, missing, p_value
from headwise.report.rows import Verdict
from headwise.statistics.multiplicity import benjamini_hochberg, holm
from headwise.study.comparison import Comparison

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


def verdict(test: Mapping[str, Any], settings: Comparison) -> Verdict:
    """What one adjusted test says, at the level of the study.

    `test` has role, estimate, ci_low, ci_high, p_adjusted, p_adjusted_attainable and p_attainable; where equivalence
    was tested also p_equivalence_adjusted. An empty value is None. A side is named where the interval shows it as well
    (`side`).
    """
    if test["role"] == REPEAT:
        return Verdict.REPEAT
    if missing(test["p_adjusted"]):
        return Verdict.NOT_TESTED
    p_equivalence = test.get("p_equivalence_adjusted")
    within = p_equivalence is not None and p_equivalence <= settings.level
    if direction := shown(test, settings.level):
        if within:
            return Verdict.BELOW_WITHIN if direction < 0 else Verdict.ABOVE_WITHIN
        return Verdict.BELOW if direction < 0 else Verdict.ABOVE
    if within:
        return Verdict.PRESERVED
    if test["p_adjusted"] <= settings.level:
        return Verdict.NO_DIRECTION
    if test["p_attainable"] is not None and test["p_attainable"] > settings.level:
        return Verdict.UNDECIDABLE
    attainable = test["p_adjusted_attainable"]
    return Verdict.UNDECIDABLE_ADJUSTED if attainable is not None and attainable > settings.level else Verdict.UNDECIDED


def verdict_and_why(row: Mapping[str, Any]) -> tuple[str, str | None]:
    """The verdict of a row of comparisons or contrasts in words, and why it is no other, where that is said."""
    below, above = DIRECTIONS[row.get("kind") or "comparison"]
    margin = "" if missing(row.get("equivalence_margin")) else f"{row['equivalence_margin']:g}"
    said, why = {
        Verdict.REPEAT: ("repeats an earlier seed", "same weights"),
        Verdict.NOT_TESTED: ("not tested", row["reason"] or None),
        Verdict.BELOW: (below, None),
        Verdict.ABOVE: (above, None),
        Verdict.BELOW_WITHIN: (f"{below}, by less than {margin}", None),
        Verdict.ABOVE_WITHIN: (f"{above}, by less than {margin}", None),
        Verdict.PRESERVED: (f"preserved (within ±{margin})", None),
        Verdict.UNDECIDED: ("undecided", None),
        Verdict.NO_DIRECTION: ("undecided", "the test finds a change, the interval shows no direction"),
        Verdict.UNDECIDABLE: ("undecidable", f"the smallest attainable p is {p_value(row['p_attainable'])}"),
        Verdict.UNDECIDABLE_ADJUSTED: (
            "undecidable",
            f"the smallest attainable adjusted p is {p_value(row['p_adjusted_attainable'])}",
        ),
    }[Verdict(row["verdict"])]
    if row.get("out_of_band"):
        return (said, f"{why} ({OUT_OF_BAND})") if why else (f"{said} ({OUT_OF_BAND})", None)
    return said, why


def in_words(row: Mapping[str, Any]) -> str:
    """The verdict of a row of comparisons or contrasts as the end of a sentence."""
    return ": ".join(filter(None, verdict_and_why(row)))
