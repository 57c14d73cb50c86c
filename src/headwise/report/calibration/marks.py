"""Which procedure a p-value comes from, and a mark on every p-value whose procedure does not keep its promise."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from headwise.calibration.rates import FAMILIES, PROMPTS, RANDOM_EFFECTS, REFITS, TWO_SAMPLES
from headwise.report.columns import records
from headwise.statistics.result import joined

MARK = "the test is out of its calibration band"


def procedure_of(row: Mapping[str, Any]) -> str | None:
    """Name of the calibrated procedure behind a row of the comparisons or contrasts; None where there is none."""
    if row.get("kind") == "alignment_random_effects":
        return RANDOM_EFFECTS
    if row.get("kind") in ("architecture", "alignment_difference"):
        return TWO_SAMPLES
    return {"prompt": PROMPTS, "refit": REFITS, "seed": REFITS, "family": FAMILIES}.get(row["unit"])


def broken(calibration: pd.DataFrame) -> dict[str, str]:
    """By procedure: what it promised and did not keep, of rejections under the null."""
    rows = calibration[calibration["quantity"].eq("rejection") & calibration["kept"].eq("no")]
    return {
        row["procedure"]: (
            f"{MARK}: it rejects {100 * row['found']:.3g} % where it promises {row['promise']} "
            f"{100 * row['expected']:.3g} % ({row['scenario']})"
        )
        for row in records(rows)
    }


def marked(tests: pd.DataFrame, calibration: pd.DataFrame) -> pd.DataFrame:
    """The tests; those of a procedure that does not keep its promise say so in verdict and reason."""
    found = broken(calibration)
    if not found or tests.empty:
        return tests
    remarks = [found.get(procedure_of(row) or "") if row["p"] is not None else None for row in records(tests)]
    verdicts = [
        f"{verdict} ({MARK})" if remark else verdict for verdict, remark in zip(tests["verdict"], remarks, strict=True)
    ]
    reasons = [joined(row["reason"], remark) for row, remark in zip(records(tests[["reason"]]), remarks, strict=True)]
    return tests.assign(verdict=verdicts, reason=pd.array(reasons, dtype="string"))
