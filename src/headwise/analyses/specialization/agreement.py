"""How far the estimators agree with the primary one: would another choice have changed the conclusion?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from headwise.report.columns import sign
from headwise.report.verdicts import REPEAT
from headwise.statistics.ties import merged

SMALLEST_FOR_RANKS = 3


def agreement_table(
    specialization: pd.DataFrame,
    comparisons: pd.DataFrame,
    repeats: Mapping[tuple[str, int], int],
    primary: str,
) -> pd.DataFrame:
    """One row per estimator and sink, set beside the primary estimator with all keys kept.

    Refits in `repeats`, which have the weights of an earlier one, are not counted. Columns:
    `models_compared`, the number of models (each refit counts) that both have a value for;
    `rank_correlation`, Spearman's over these models (null, with a reason, below three models or where all
    values are equal); `changes_compared`, the number of changes under alignment within one refit that both
    have; `same_direction`, how many of these have the same sign.
    """
    values = specialization[specialization["scope"] == "model"]
    levels = _wide(values, ["model", "seed"], "value").drop(index=list(repeats), errors="ignore")
    reference = (primary, "kept")
    deltas = pd.DataFrame(columns=levels.columns, dtype="float64")
    if not comparisons.empty:
        at_model = comparisons["level"].eq("model") & comparisons["scope"].eq("refit")
        deltas = _wide(comparisons[at_model & comparisons["role"].ne(REPEAT)], ["aligned", "seed"], "delta_absolute")
    rows = []
    for estimator, sink in zip(*(levels.columns.get_level_values(level) for level in (0, 1)), strict=True):
        if (estimator, sink) == reference:
            continue
        both = levels[[reference, (estimator, sink)]].dropna()
        correlation, reason = rank_correlation(both)
        moved = deltas[[reference, (estimator, sink)]].dropna()
        same = sum(sign(one) * sign(other) > 0 for one, other in moved.itertuples(index=False, name=None))
        rows.append(
            {
                "estimator": estimator,
                "sink": sink,
                "models_compared": len(both),
                "rank_correlation": correlation,
                "changes_compared": len(moved),
                "same_direction": same,
                "reason": reason,
            }
        )
    return pd.DataFrame(rows)


def _wide(rows: pd.DataFrame, index: list[str], value: str) -> pd.DataFrame:
    """One column per (estimator, sink), in the order of the rows; one row per combination of `index`."""
    wide = rows.pivot(index=index, columns=["estimator", "sink"], values=value)
    order = pd.MultiIndex.from_frame(rows[["estimator", "sink"]].drop_duplicates())
    return wide.reindex(columns=order).astype("float64")


def rank_correlation(pair: pd.DataFrame) -> tuple[float | None, str | None]:
    """Spearman's correlation of two columns, in which values that differ by rounding are ties; or why there is none."""
    if len(pair) < SMALLEST_FOR_RANKS:
        return None, f"only {len(pair)} models have both values; ranks need {SMALLEST_FOR_RANKS}"
    pair = pair.apply(lambda values: merged(values.to_numpy(dtype=np.float64)))
    if (pair.nunique() == 1).any():
        return None, "all values are equal"
    return float(pair.corr(method="spearman").to_numpy()[0, 1]), None
