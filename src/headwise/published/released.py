"""Printed indices of released files, computed again from the matrices that stand beside them: for the controls."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from headwise.analyses.specialization.estimators.entropy_profile import summary
from headwise.published.items import Index
from headwise.published.release import read_release
from headwise.statistics.result import finite_or_none
from headwise.tables.files import write_rows
from headwise.tables.row import Row, column


@dataclass(frozen=True, kw_only=True)
class ReleasedIndex(Row):
    """A printed index whose matrix of entropies stands beside it."""

    table: ClassVar[str] = "released_indices"
    file: str = column("The file that prints it")
    place: str = column("Keys that lead to it in the file")
    printed: float = column("The index as printed")
    computed: float | None = column("The index of the matrix of entropies; null where it has none", default=None)


def compute_released(folder: Path, table: Path) -> None:
    """Read the files below a folder, and write a row for each printed index that has a matrix of entropies.

    Raises ValueError where there is no such folder, or no JSON file in it.
    """
    rows = [
        ReleasedIndex(
            file=item.place.file,
            place=str(item.place),
            printed=item.printed,
            computed=finite_or_none(float(summary(item.entropies))),
        )
        for item in read_release(folder).items
        if isinstance(item, Index) and item.entropies is not None and item.printed is not None
    ]
    write_rows(ReleasedIndex, rows, table, {"folder": str(folder)})
