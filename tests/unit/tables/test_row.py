"""Row classes: what a table's files, schema and documentation say follows from its fields."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

import pandas as pd
import polars
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from headwise.tables.cells import TableError
from headwise.tables.files import markdown, read_rows, row_model, write_rows
from headwise.tables.frame import frame_of, records, typed
from headwise.tables.row import Row, column, columns_of


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, kw_only=True)
class Identity(Row):
    model: str = column("Name of the model", heading="Model")


@dataclass(frozen=True, kw_only=True)
class Change(Identity):
    """What moved."""

    table: ClassVar[str] = "changes"
    seed: int | None = column("Refit", default=None)
    loss: float | None = column("Mean loss", unit="nats per token", default=None)
    finished: bool = column("Whether it ended")
    direction: Direction = column("Where it went")


ROWS = [
    Change(model="a", seed=2**53 - 1, loss=0.5, finished=True, direction=Direction.UP),
    Change(model="b", finished=False, direction=Direction.DOWN),
]


def test_columns_are_the_fields_those_of_bases_first() -> None:
    columns = {each.name: each for each in columns_of(Change)}
    assert list(columns) == ["model", "seed", "loss", "finished", "direction"]
    assert {name for name, each in columns.items() if each.nullable} == {"seed", "loss"}
    assert (columns["loss"].heading, columns["loss"].unit) == ("Loss", "nats per token")
    assert columns["direction"].choices == ("up", "down")


def test_what_is_written_is_read_by_us_and_by_others(tmp_path: Path) -> None:
    path = tmp_path / "changes.parquet"
    write_rows(Change, ROWS, path, {"study": "s"})
    ours = read_rows(Change, path)
    assert records(ours) == [
        {"model": "a", "seed": 2**53 - 1, "loss": 0.5, "finished": True, "direction": "up"},
        {"model": "b", "seed": None, "loss": None, "finished": False, "direction": "down"},
    ]
    theirs = polars.read_parquet(path)
    assert theirs["seed"].to_list() == [2**53 - 1, None]
    field = pq.read_schema(path).field("loss")
    assert (field.nullable, field.metadata[b"unit"]) == (True, b"nats per token")
    assert not pq.read_schema(path).field("model").nullable


def test_a_table_without_rows_keeps_its_columns_and_types(tmp_path: Path) -> None:
    write_rows(Change, [], tmp_path / "none.parquet", {})
    empty = read_rows(Change, tmp_path / "none.parquet")
    assert empty.dtypes.astype(str).to_dict() == frame_of(Change, ROWS).dtypes.astype(str).to_dict()
    assert pq.read_schema(tmp_path / "none.parquet").field("seed").type == "int64"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"direction": "sideways"}, "column 'direction', row 1 .*'sideways'; the column holds one of up, down"),
        ({"finished": "yes"}, "column 'finished', row 1 .*'yes'; the column holds true or false in every row"),
        ({"finished": None}, "column 'finished', row 1 .*: None; the column holds true or false in every row"),
        ({"seed": 2**53}, "rounded by JavaScript"),
        ({"surprise": 1}, "column 'surprise' is unknown"),
    ],
)
def test_a_cell_that_the_class_does_not_declare_is_refused(change: dict[str, object], sentence: str) -> None:
    row = {"model": "a", "seed": 1, "finished": True, "direction": "up"}
    with pytest.raises(TableError, match=sentence):
        frame_of(Change, [row | change])


def test_another_versions_table_gets_one_sentence(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Old(Identity):
        table: ClassVar[str] = "changes"
        speed: float = column("How fast")

    write_rows(Old, [Old(model="a", speed=1.0)], tmp_path / "old.parquet", {})
    with pytest.raises(TableError, match="'changes': column 'direction' is missing: it was made by another version"):
        read_rows(Change, tmp_path / "old.parquet")


def test_rows_of_results_validate_strictly() -> None:
    model = row_model("changes", columns_of(Change))
    content = records(typed(Change, frame_of(Change, ROWS)))
    assert [model(**row).model_dump() for row in content] == content
    with pytest.raises(ValidationError):
        model(**content[0] | {"direction": "sideways"})
    assert model.model_json_schema()["properties"]["direction"]["enum"] == ["up", "down"]


def test_the_documentation_lists_every_column() -> None:
    lines = markdown(Change).splitlines()
    assert "| `loss` | float, may be empty | Mean loss (nats per token) |" in lines
    assert "| `direction` | `up` or `down` | Where it went |" in lines


def test_a_field_of_another_type_or_without_meaning_is_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Wrong(Row):
        values: list[int] = column("Several")

    @dataclass(frozen=True, kw_only=True)
    class Silent(Row):
        value: int = 0

    for row in (Wrong, Silent):
        with pytest.raises(TypeError):
            columns_of(row)
    assert isinstance(frame_of(Change, []), pd.DataFrame)
