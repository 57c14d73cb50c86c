"""A row class is a table: its fields say what each column holds; files, schemas, docs and headings follow from it.

    @dataclass(frozen=True, kw_only=True)
    class Loss(Row):
        \"\"\"Loss of one refit on held-out text.\"\"\"

        table: ClassVar[str] = "losses"
        model: str = column("Name of the model in the study file", heading="Model")
        loss: float | None = column("Mean loss on held-out text", unit="nats per token", default=None)

A type is str, int, float, bool or an enumeration of strings, with `| None` where a cell may be empty.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from types import UnionType
from typing import Any, ClassVar, get_args, get_type_hints

CELL_TYPES = (str, int, float, bool)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    name         of the field
    type         str, int, float or bool; of an enumeration str
    description  what a cell means, without full stop
    nullable     whether a cell may be empty
    heading      what people read above it; the name without underscores where the class gives none
    unit         of a number; empty where it has none
    choices      what a cell may hold, of an enumeration; else empty
    """

    name: str
    type: type[str] | type[int] | type[float] | type[bool]
    description: str
    nullable: bool = False
    heading: str = ""
    unit: str = ""
    choices: tuple[str, ...] = ()


def column(description: str, *, heading: str = "", unit: str = "", default: Any = MISSING) -> Any:
    """A field of a row class; see `Column`."""
    meaning = {"description": description, "heading": heading, "unit": unit}
    return field(default=default, metadata=meaning)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The base of row classes, and of the groups of columns that several of them share.

    table       name of the table: of its files, and of its rows in results.json
    in_results  whether results.json holds its rows; the files hold them all
    main        which of them it holds: those with this value in this column; default: all
    """

    table: ClassVar[str] = ""
    in_results: ClassVar[bool] = False
    main: ClassVar[tuple[str, str] | None] = None


def columns_of(row: type[Row]) -> tuple[Column, ...]:
    """The columns of a table in order: those of the classes that it derives from first.

    Raises TypeError for a field of another type, or one that says not what it holds.
    """
    types = get_type_hints(row)
    return tuple(_column(row, each.name, types[each.name], each.metadata) for each in fields(row))


def _column(row: type[Row], name: str, annotation: Any, meaning: Mapping[str, str]) -> Column:
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    kind, *others = (each for each in kinds if each is not type(None))
    is_choice = isinstance(kind, type) and issubclass(kind, StrEnum)
    if others or not (is_choice or kind in CELL_TYPES):
        raise TypeError(
            f"{row.__name__}.{name}: a cell holds text, a number, a truth value or a choice, not {annotation}"
        )
    if not meaning.get("description"):
        raise TypeError(f"{row.__name__}.{name}: say what it holds: {name}: … = column('…')")
    return Column(
        name=name,
        type=str if is_choice else kind,
        description=meaning["description"],
        nullable=type(None) in kinds,
        heading=meaning["heading"] or name.replace("_", " ").capitalize(),
        unit=meaning["unit"],
        choices=tuple(each.value for each in kind) if is_choice else (),
    )
