"""Rows as a table of pandas whose columns have the types that the row class declares."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Any

import pandas as pd

from headwise.tables.cells import TableError, check_cells
from headwise.tables.row import Column, Row, columns_of

DTYPES: dict[type, str] = {str: "string", int: "Int64", float: "float64", bool: "boolean"}


def frame_of(row: type[Row], rows: Iterable[Row | Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of one class, or as mappings with the same names, as a table. Raises TableError as `typed` does."""
    return typed(row, pd.DataFrame([_cells(each) for each in rows], dtype=object))


def typed(row: type[Row], frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the columns of a table, in their order and with their types.

    A frame without rows gets all columns, and a nullable column that is missing is empty. Raises TableError
    when another column is missing, or one is there that should not be, and, naming the row as well, for a cell that is
    not of its column's type, that is no choice of it, that is infinite, or a whole number that JSON would round.
    """
    return typed_columns(row.table, columns_of(row), frame)


def typed_columns(table: str, columns: tuple[Column, ...], frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with these columns; see `typed`."""
    if frame.empty:
        return pd.DataFrame({column.name: pd.Series(dtype=DTYPES[column.type]) for column in columns})
    frame = frame.assign(**{column.name: None for column in columns if column.nullable and column.name not in frame})
    expected = {column.name for column in columns}
    if wrong := sorted(expected.symmetric_difference(frame.columns)):
        problem = "is missing" if wrong[0] in expected else "is unknown"
        raise TableError(
            f"table '{table}': column '{wrong[0]}' {problem}: it was made by another version of headwise, or its row "
            "class lacks a field; compute the inputs of the table again"
        )
    frame = frame[[column.name for column in columns]].reset_index(drop=True)
    for column in columns:
        check_cells(table, column, frame)
    return frame.astype({column.name: DTYPES[column.type] for column in columns})


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries of Python values; an empty cell is None."""
    plain = rows.astype(object).where(rows.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def _cells(row: Row | Mapping[str, Any]) -> dict[str, Any]:
    cells = asdict(row) if isinstance(row, Row) else dict(row)
    return {name: cell.value if isinstance(cell, StrEnum) else cell for name, cell in cells.items()}
