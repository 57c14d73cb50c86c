"""What rules tell the jobs that keep a declaration and compare it.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.declaration.rows import DeclaredField
from headwise.analyses.questions.settings import questions_of
from headwise.study.study import Study

TABLES = (DeclaredField.table,)


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis, which every study has."""
    return TABLES


def declaration_arguments(study: Study) -> dict[str, Any]:
    """Of rule declare."""
    asked = [question.model_dump(mode="json") for question in questions_of(study)]
    return {"settings": study.comparison.model_dump(mode="json"), "questions": asked}


def check_arguments(study: Study) -> dict[str, Any]:
    """Of rule check_declaration."""
    return {"study": study.name, **declaration_arguments(study)}
