"""The columns of the tables that belong to no analysis, and what is asked of rows of several tables."""

from collections.abc import Mapping

import pandas as pd

from headwise.report.rows import TABLES, OfModel
from headwise.tables.row import Column, columns_of

Tables = Mapping[str, pd.DataFrame]

ROUNDING = 1e-9  # values of an estimator that differ by less are equal but for rounding

IDENTITY = [each.name for each in columns_of(OfModel)]
COLUMNS: dict[str, tuple[Column, ...]] = {row.table: columns_of(row) for row in TABLES}


def is_primary(rows: pd.DataFrame, primary: str) -> "pd.Series[bool]":
    """Which rows are of the primary estimator with all keys kept."""
    return rows["estimator"].eq(primary) & rows["sink"].eq("kept")


def sign(change: float) -> int:
    """The sign of a change of an estimator; 0 for one that is 0 but for rounding."""
    return 0 if abs(change) <= ROUNDING else 1 if change > 0 else -1


def counted(rows: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
    """The rows, each of a model and seed, without seeds that the table of models says to repeat an earlier one."""
    repeats = models.loc[models["repeats_seed"].notna(), ["model", "seed"]]
    keys = pd.MultiIndex.from_frame(rows[["model", "seed"]])
    return rows[~keys.isin(pd.MultiIndex.from_frame(repeats))]
