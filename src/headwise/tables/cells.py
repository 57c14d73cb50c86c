"""Whether the cells of a table are what its columns declare, so that no number changes on its way to the page."""

from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_float_dtype, is_integer_dtype, is_string_dtype

from headwise.tables.row import Column

LARGEST_WHOLE = 2**53 - 1  # of JavaScript's numbers, and of spreadsheets': the one after it may be another
WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
COMPUTE_AGAIN = "compute the inputs of the table again"
MOST_NAMED = 4


class TableError(ValueError):
    """A table with a wrong column or cell; the message names table and column, and the row of a cell."""


def check_cells(table: str, column: Column, frame: pd.DataFrame) -> None:
    """Raise TableError where a cell of a column is not of its type, no choice of it, infinite, or a whole number beyond
    LARGEST_WHOLE.

    An empty cell passes where the column may have them; whether text stands for a number, or 1 for "1", nobody guesses.
    """
    cells = frame[column.name]
    filled = cells.notna()
    wrong = filled & ~_of_type(cells, column.type)
    if wrong.any():
        remedy = f"the column holds {WORDS[column.type]} in every row: {COMPUTE_AGAIN}"
        raise _refused(table, column.name, frame, wrong, remedy)
    if not column.nullable and (empty := ~filled).any():
        remedy = f"the column holds {WORDS[column.type]} in every row: {COMPUTE_AGAIN}"
        raise _refused(table, column.name, frame, empty, remedy)
    if column.choices and (unknown := filled & ~cells.isin(column.choices)).any():
        remedy = f"the column holds one of {', '.join(column.choices)}: {COMPUTE_AGAIN}"
        raise _refused(table, column.name, frame, unknown, remedy)
    if column.type is float and (infinite := filled & np.isinf(cells.astype("float64"))).any():
        remedy = f"an infinite number is no measurement: {COMPUTE_AGAIN}, or leave out the model that it comes from"
        raise _refused(table, column.name, frame, infinite, remedy)
    if column.type is int and (large := filled & ~cells.fillna(0).between(-LARGEST_WHOLE, LARGEST_WHOLE)).any():
        remedy = "whole numbers beyond 2^53 − 1 are rounded by JavaScript and spreadsheets: choose a smaller one"
        raise _refused(table, column.name, frame, large, remedy)


def _of_type(cells: "pd.Series[Any]", kind: type) -> "pd.Series[bool]":
    """Which cells are of a type; floating-point numbers are whole where they are exactly that."""
    fits = {str: is_string_dtype, int: is_integer_dtype, float: is_float_dtype, bool: is_bool_dtype}[kind]
    if fits(cells.dtype) and cells.dtype != object:
        return pd.Series(True, index=cells.index)
    return cells.astype(object).map(lambda cell: _is(cell, kind)).astype(bool)


def _is(cell: object, kind: type) -> bool:
    if kind in (str, bool) or isinstance(cell, str | bool | np.bool_):
        return isinstance(cell, bool | np.bool_) if kind is bool else kind is str and isinstance(cell, str)
    if kind is float:
        return isinstance(cell, Real)
    return isinstance(cell, Integral) or (isinstance(cell, Real) and float(cell).is_integer())


def _refused(table: str, column: str, frame: pd.DataFrame, wrong: "pd.Series[bool]", remedy: str) -> TableError:
    """The error about the first wrong cell; its row is counted from 1 and told by the row's first cells."""
    place = int(wrong.to_numpy().argmax())
    row = frame.iloc[place].dropna().drop(column, errors="ignore")
    named = ", ".join(f"{name} {value}" for name, value in row.head(MOST_NAMED).items())
    cell = frame[column].iloc[place]
    shown = repr(cell) if isinstance(cell, str) else str(cell)
    return TableError(f"table '{table}', column '{column}', row {place + 1} ({named}): {shown}; {remedy}")
