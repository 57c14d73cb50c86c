"""The table of the declaration."""

from dataclasses import dataclass
from typing import ClassVar

from headwise.tables.row import Row, column


@dataclass(frozen=True, kw_only=True)
class DeclaredField(Row):
    """One field that a study declares before anything is computed, then and now."""

    table: ClassVar[str] = "declaration"
    in_results: ClassVar[bool] = True
    field: str = column("Field of the section comparison, or questions", heading="Field")
    declared: str = column("Value when the study first ran, as JSON", heading="Declared")
    now: str = column("Value in today's study file, as JSON", heading="Now")
    changed: bool = column("Whether the two differ", heading="Changed")
    declared_digest: str = column("SHA-256 of the declaration")
    current_digest: str = column("SHA-256 of what today's study file declares")
    results_existed: bool = column("Whether results were there before the declaration was written")
