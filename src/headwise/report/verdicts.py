"""What a test says in plain words, after adjustment for how many tests there are.

A test that could not have become significant whatever the data is called undecidable, never "no effect".
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headwise.report.labels import p_value
from headwise.statistics.multiplicity import benjamini_hochberg, holm
from headwise.study import Comparison

CONFIRMATORY = "confirmatory"
EXPLORATORY = "exploratory"
REPEAT = "repeat"
METHODS = {CONFIRMATORY: holm, EXPLORATORY: benjamini_hochberg}

# How to say that an estimate is below or above zero, by what was compared.
DIRECTIONS = {
    "comparison": ("decreased", "increased"),
    "architecture": ("lower than the reference", "higher than the reference"),
    "alignment_difference": ("change lies below the reference's", "change lies above the reference's"),
    "alignment_pooled": ("decreased", "increased"),
}


def roles(declared: "pd.Series[bool]", repeat: "pd.Series[bool] | None" = None) -> "pd.Series[str]":
    """The role of each test: confirmatory where declared, else exploratory; "repeat" where it is no test of its own."""
    named = declared.map({True: CONFIRMATORY, False: EXPLORATORY}).astype("string")
    return named if repeat is None else named.mask(repeat, REPEAT)


def adjust(tests: pd.DataFrame, family: list[str]) -> pd.DataFrame:
    """The tests with their adjusted p-values.

    `tests` has the columns role, p and p_attainable (both null where there was no
    test), and those named in `family`. Within a role, tests that agree in all columns of `family` are adjusted
    together: confirmatory ones by Holm (1979), exploratory ones by Benjamini and Hochberg (1995), repeats not at all.
    Where p_equivalence exists it is adjusted in the same way, on its own.

    Adds p_adjusted; p_adjusted_attainable, the adjusted p in the most favourable outcome, where every test of the
    family reaches the smallest p that its design can give; adjustment, in words; and p_equivalence_adjusted.
    """
    adjusted = tests.copy()
    columns = {
        "p": "p_adjusted",
        "p_attainable": "p_adjusted_attainable",
        "p_equivalence": "p_equivalence_adjusted",
    }
    columns = {source: target for source, target in columns.items() if source in tests}
    for target in columns.values():
        adjusted[target] = np.nan
    adjusted["adjustment"] = pd.Series(pd.NA, index=tests.index, dtype="string")
    for (role, *_), group in tests[tests["role"] != REPEAT].groupby(
        ["role", *family], dropna=False, sort=False
    ):
        results = {source: METHODS[role](group[source].to_numpy(np.float64)) for source in columns}
        for source, target in columns.items():
            adjusted.loc[group.index, target] = results[source].p
        words = (
            f"{results['p'].method} over {results['p'].tests} test{'' if results['p'].tests == 1 else 's'}"
        )
        adjusted.loc[group.index[group["p"].notna()], "adjustment"] = words
    return adjusted


def verdict(test: Mapping[str, Any], settings: Comparison, directions: tuple[str, str]) -> str:
    """What one adjusted test says, at the level of the study.

    `test` has role, estimate, p_adjusted, p_adjusted_attainable, p_attainable and reason; where equivalence was tested also
    p_equivalence_adjusted and equivalence_margin. `directions` says below and above zero in words.
    """
    if test["role"] == REPEAT:
        return "repeats an earlier seed: same weights"
    if pd.isna(test["p_adjusted"]):
        return "not tested" if _missing(test.get("reason")) else f"not tested: {test['reason']}"
    margin = test.get("equivalence_margin")
    within = not _missing(margin) and test.get("p_equivalence_adjusted", np.nan) <= settings.level
    if test["p_adjusted"] <= settings.level:
        direction = directions[0] if test["estimate"] < 0 else directions[1]
        return f"{direction}, by less than {margin:g}" if within else direction
    if within:
        return f"preserved (within ±{margin:g})"
    if test["p_attainable"] > settings.level:
        return f"undecidable: the smallest attainable p is {p_value(test['p_attainable'])}"
    if test["p_adjusted_attainable"] > settings.level:
        return f"undecidable: the smallest attainable adjusted p is {p_value(test['p_adjusted_attainable'])}"
    return "undecided"


def verdicts(tests: pd.DataFrame, settings: Comparison, kinds: pd.Series) -> NDArray[np.object_]:
    """The verdict of every row; `kinds` says by row what was compared, a key of DIRECTIONS."""
    rows = tests.to_dict("records")
    words = [verdict(row, settings, DIRECTIONS[kind]) for row, kind in zip(rows, kinds, strict=True)]
    return np.array(words, dtype=object)


def _missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value))
