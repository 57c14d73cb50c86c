"""What a study declared before anything was computed, kept beside its results, and whether that has changed since."""

import json
from pathlib import Path
from typing import Any

from headwise.runtime.provenance import json_digest, read_json, write_json, write_table
from headwise.study.comparison import Comparison

DECLARED = ("primary", "confirmatory", "equivalence_margin", "level", "reference")


def declaration_of(settings: Comparison) -> dict[str, Any]:
    """The fields of the study file that must not depend on results."""
    return settings.model_dump(mode="json", include=set(DECLARED))


def declare(settings: Comparison, results: Path, declaration: Path) -> None:
    """Write the declaration of a study to a file that is made once, before attention is measured.

    The file holds the declared fields, their digest, and whether `results`, the folder of measured specialization,
    already held anything at that time.
    """
    declared = declaration_of(settings)
    existed = results.is_dir() and any(results.rglob("*.parquet"))
    write_json({"digest": json_digest(declared), "declared": declared, "results_existed": existed}, declaration)


def check_declaration(declaration: Path, settings: Comparison, study: str, table: Path) -> None:
    """Compare the declaration with today's study file; write one row per declared field.

    Columns: field; declared and now, as JSON; changed ("yes" or "no"); declared_digest, current_digest;
    results_existed ("yes" where results were there before the declaration).
    """
    import pyarrow

    kept, current = read_json(declaration), declaration_of(settings)
    rows = [
        {
            "field": field,
            "declared": json.dumps(kept["declared"].get(field), ensure_ascii=False),
            "now": json.dumps(current[field], ensure_ascii=False),
            "changed": "no" if kept["declared"].get(field) == current[field] else "yes",
            "declared_digest": kept["digest"],
            "current_digest": json_digest(current),
            "results_existed": "yes" if kept["results_existed"] else "no",
        }
        for field in DECLARED
    ]
    write_table(pyarrow.Table.from_pylist(rows), table, {"study": study, "declaration_digest": kept["digest"]})
