"""Tables as files that other tools read: Parquet, CSV, and the rows of results.json."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow
from pydantic import BaseModel, ConfigDict, Field, create_model

from headwise.runtime.parquet import read_table, write_table
from headwise.tables.csv_text import text_for_csv
from headwise.tables.frame import frame_of, typed
from headwise.tables.row import Column, Row, columns_of

ARROW: dict[type, pyarrow.DataType] = {
    str: pyarrow.string(),
    int: pyarrow.int64(),
    float: pyarrow.float64(),
    bool: pyarrow.bool_(),
}
STRICT = ConfigDict(extra="forbid", frozen=True)


def arrow_schema(row: type[Row]) -> pyarrow.Schema:
    """The schema of a table's Parquet file; each field carries its description and unit as metadata."""
    return pyarrow.schema([_arrow_field(column) for column in columns_of(row)])


def _arrow_field(column: Column) -> pyarrow.Field:
    meaning = {"description": column.description} | ({"unit": column.unit} if column.unit else {})
    return pyarrow.field(column.name, ARROW[column.type], nullable=column.nullable, metadata=meaning)


def write_rows(
    row: type[Row],
    rows: pd.DataFrame | Iterable[Row | Mapping[str, Any]],
    path: str | Path,
    metadata: Mapping[str, Any],
) -> None:
    """Write a table as Parquet with its provenance, atomically. Raises TableError as `typed` does."""
    frame = typed(row, rows) if isinstance(rows, pd.DataFrame) else frame_of(row, rows)
    table = pyarrow.Table.from_pandas(frame, schema=arrow_schema(row), preserve_index=False)
    write_table(table, path, metadata)


def read_rows(row: type[Row], path: str | Path) -> pd.DataFrame:
    """A table that `write_rows` wrote, with its types.

    Raises ParquetError for a file that cannot be read, and TableError for one with other columns.
    """
    return typed(row, read_table(path))


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table for spreadsheets; text as `text_for_csv` has it."""
    text_for_csv(frame).to_csv(path, index=False, lineterminator="\n")


def row_model(table: str, columns: tuple[Column, ...]) -> type[BaseModel]:
    """The rows of a table as a strict model, for the schema of results.json; an empty cell is null."""
    cells: dict[str, Any] = {each.name: (_json_type(each), Field(description=_meaning(each))) for each in columns}
    name = "".join(word.capitalize() for word in table.split("_"))
    return create_model(f"{name}Row", __config__=STRICT, **cells)


def _json_type(column: Column) -> Any:
    kind = Literal[column.choices] if column.choices else column.type
    return kind | None if column.nullable else kind


def _meaning(column: Column) -> str:
    return f"{column.description} ({column.unit})" if column.unit else column.description


def markdown(row: type[Row]) -> str:
    """The columns of a table for the documentation: name, type, unit, meaning."""
    lines = ["| column | type | meaning |", "|---|---|---|"]
    for column in columns_of(row):
        kind = " or ".join(f"`{choice}`" for choice in column.choices) or column.type.__name__
        lines.append(f"| `{column.name}` | {kind}{', may be empty' if column.nullable else ''} | {_meaning(column)} |")
    return "\n".join(lines)
