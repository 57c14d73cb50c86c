"""What a study declared before anything was computed, kept beside its results, and whether that has changed since."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headwise.analyses.declaration.rows import DeclaredField
from headwise.analyses.questions.settings import Question
from headwise.runtime.json_files import read_json, write_json
from headwise.runtime.provenance import json_digest
from headwise.study.comparison import Comparison
from headwise.tables.files import write_rows

DECLARED = ("primary", "confirmatory", "equivalence_margin", "level", "reference")
QUESTIONS = "questions"


def declaration_of(settings: Comparison, questions: Sequence[Question] = ()) -> dict[str, Any]:
    """The fields of the study file that must not depend on results: title and published effect enter no test."""
    asked = [question.model_dump(mode="json", exclude={"title", "published"}) for question in questions]
    return {**settings.model_dump(mode="json", include=set(DECLARED)), QUESTIONS: asked}


def declare(settings: Comparison, declaration: Path, questions: Sequence[Question] = ()) -> None:
    """Write the declaration of a study to a file that is made once, before attention is measured.

    The file holds the declared fields, their digest, and whether the folder `specialization` beside it already
    held anything measured at that time.
    """
    declared = declaration_of(settings, questions)
    results = declaration.parent / "specialization"
    existed = results.is_dir() and any(results.rglob("*.parquet"))
    write_json({"digest": json_digest(declared), "declared": declared, "results_existed": existed}, declaration)


def check_declaration(
    declaration: Path, settings: Comparison, study: str, table: Path, questions: Sequence[Question] = ()
) -> None:
    """Compare the declaration with today's study file; write one row per declared field."""
    kept, current = read_json(declaration), declaration_of(settings, questions)
    # Before there were questions, no study declared any.
    before = {QUESTIONS: [], **kept["declared"]}
    rows = [
        DeclaredField(
            field=field,
            declared=json.dumps(before.get(field), ensure_ascii=False),
            now=json.dumps(current[field], ensure_ascii=False),
            changed=before.get(field) != current[field],
            declared_digest=kept["digest"],
            current_digest=json_digest(current),
            results_existed=kept["results_existed"],
        )
        for field in (*DECLARED, QUESTIONS)
    ]
    write_rows(DeclaredField, rows, table, {"study": study, "declaration_digest": kept["digest"]})
