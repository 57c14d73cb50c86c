"""What rules tell the jobs that keep a declaration and compare it.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.declaration.rows import DeclaredField
from headwise.study.study import Study

TABLES = (DeclaredField.table,)


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis, which every study has."""
    return TABLES


def declaration_arguments(study: Study) -> dict[str, Any]:
    """Of rule declare."""
    return {"settings": study.comparison.model_dump(mode="json")}


def check_arguments(study: Study) -> dict[str, Any]:
    """Of rule check_declaration."""
    return {"study": study.name, "settings": study.comparison.model_dump(mode="json")}
