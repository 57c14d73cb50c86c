"""Text in CSV files that spreadsheets open: a name that begins like a formula stays a name."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

FORMULA = ("=", "@", "+", "-", "\t", "\r")
NOT_TEXT = "biufcmM"  # kinds of dtypes: truth values, numbers, times


def text_for_csv(frame: "pandas.DataFrame") -> "pandas.DataFrame":
    """The frame with an apostrophe before every text cell that begins with = @ + - a tab or a carriage return.

    Spreadsheets take such a cell of a CSV file for a formula and run it, and names come from strangers (OWASP, CSV
    injection). Numbers, also those in a column that holds text as well, empty cells and column names stay as they are.
    """
    neutral = frame.copy()
    for place, dtype in enumerate(frame.dtypes):
        if dtype.kind not in NOT_TEXT:
            cells = frame.iloc[:, place].astype(object).map(lambda cell: f"'{cell}" if _is_formula(cell) else cell)
            neutral.isetitem(place, cells.to_numpy())
    return neutral


def _is_formula(cell: object) -> bool:
    return isinstance(cell, str) and cell.startswith(FORMULA)
