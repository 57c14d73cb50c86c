"""Which procedure a p-value comes from, and a mark on every p-value whose procedure does not keep its promise."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from headwise.analyses.calibration.rates import Kept, Quantity
from headwise.report.labels import OUT_OF_BAND
from headwise.report.rows import WITHIN_MARGIN
from headwise.report.verdicts import CONFIRMATORY
from headwise.statistics.procedures import Procedure
from headwise.statistics.result import joined
from headwise.tables.frame import records

# By column: the procedure behind the number that stands in it.
Procedures = dict[str, str | None]
WORDS = {name: f"{name} is out of its calibration band" for name in ("p_domains", "p_equivalence", "p_adjusted")}
OF_UNIT = {
    "prompt": Procedure.PROMPTS,
    "refit": Procedure.REFITS,
    "seed": Procedure.REFITS,
    "family": Procedure.FAMILIES,
}


def of_comparison(row: Mapping[str, Any]) -> Procedures:
    """Of an aligned model against its base."""
    over_prompts = row["unit"] == "prompt"
    return {
        "p": OF_UNIT.get(row["unit"]),
        "p_domains": Procedure.DOMAINS,
        "p_equivalence": Procedure.EQUIVALENCE if over_prompts else None,
        "p_adjusted": Procedure.CONFIRMATORY_SET
        if row.get("role") == CONFIRMATORY
        else Procedure.BY_LAYER
        if over_prompts
        else None,
    }


def of_contrast(row: Mapping[str, Any]) -> Procedures:
    """Of models against each other."""
    own = {
        "alignment_random_effects": Procedure.RANDOM_EFFECTS,
        "architecture": Procedure.TWO_SAMPLES,
        "alignment_difference": Procedure.TWO_SAMPLES,
    }.get(row["kind"], OF_UNIT.get(row["unit"]))
    return {"p": own, "p_adjusted": Procedure.CONFIRMATORY_SET if row.get("role") == CONFIRMATORY else None}


def of_procedure(row: Mapping[str, Any]) -> Procedures:
    """Of a row that names the procedure behind its p."""
    return {"p": row["procedure"]}


OF_TABLE: dict[str, Callable[[Mapping[str, Any]], Procedures]] = {
    "answers": of_procedure,
    "comparisons": of_comparison,
    "contrasts": of_contrast,
    "effects": of_procedure,
    "factors": lambda row: {"p": Procedure.FACTOR},
    "noise_contrasts": of_procedure,
    "probe_discrimination": of_procedure,
    "recursion_durations": of_procedure,
    "stability": of_procedure,
}


def broken(calibration: pd.DataFrame) -> dict[str, str]:
    """By procedure: what it promised and did not keep, of rejections under the null."""
    rows = calibration[calibration["quantity"].eq(Quantity.REJECTION) & calibration["kept"].eq(Kept.NO)]
    return {
        row["procedure"]: (
            f"it rejects {100 * row['found']:.3g} % where it promises {row['promise']} "
            f"{100 * row['expected']:.3g} % ({row['scenario']})"
        )
        for row in records(rows)
    }


def marked(table: str, tests: pd.DataFrame, calibration: pd.DataFrame) -> pd.DataFrame:
    """The tests of a table; those of a procedure that does not keep its promise say so in `reason`.

    `out_of_band` is true where p, or what the verdict rests on besides, is such a number.
    """
    found = broken(calibration)
    if not found or tests.empty or table not in OF_TABLE:
        return tests
    reasons, out_of_band = [], []
    for row in records(tests):
        remarks = {
            column: f"{WORDS.get(column, OUT_OF_BAND)}: {found[procedure]}"
            for column, procedure in OF_TABLE[table](row).items()
            if procedure in found and row.get(column) is not None
        }
        reasons.append(joined(row["reason"], *remarks.values()))
        rests_on = {"p", "p_adjusted"} | ({"p_equivalence"} if row.get("verdict") in WITHIN_MARGIN else set())
        out_of_band.append(bool(rests_on & set(remarks)))
    return tests.assign(reason=pd.array(reasons, dtype="string"), out_of_band=pd.array(out_of_band, dtype="boolean"))
