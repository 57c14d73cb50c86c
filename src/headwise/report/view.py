"""Tables for people: rows of text, with a heading and a way of setting for each column."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from headwise.report.labels import amount
from headwise.tables.frame import records

Row = Mapping[str, Any]
# Heading, text of a row's cell, and how the column is set.
ColumnView = tuple[str, Callable[[Row], str], str]
NUMBER, NAME, TEXT = "number", "name", "text"
MOST_ROWS = 500


@dataclass(frozen=True)
class View:
    """A table for people.

    `head` names the columns; `kinds` says how each is set: "number" flush right, "name" on one line, "text"
    in as many lines as it needs; `rows` are cells of text; `note` says what was left out, if anything.
    """

    head: list[str]
    kinds: list[str]
    rows: list[list[str]]
    note: str = ""


def view(rows: pd.DataFrame, columns: list[ColumnView]) -> View:
    """Rows as text: Rows beyond MOST_ROWS are left out."""
    shown = records(rows.head(MOST_ROWS))
    cells = [[cell(row) for _, cell, _ in columns] for row in shown]
    left_out = len(rows) - len(shown)
    note = f"{amount(left_out, 'further row')} in the file of this table." if left_out else ""
    return View([head for head, _, _ in columns], [kind for _, _, kind in columns], cells, note)
