"""What the rule tells the job that sets arms of alignment against their placebos.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.effects.rows import TABLES as ROWS
from headwise.study.arms import arms
from headwise.study.study import Study

TABLES = tuple(row.table for row in ROWS)


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis; none where the study makes no placebo."""
    return TABLES if arms(study) else ()


def effect_arguments(study: Study) -> dict[str, Any]:
    """Of rule measure_effects."""
    return {
        "arms": [
            {"method": arm.method, "dose": arm.dose, "base": arm.base, "arm": arm.name, "placebo": placebo.name}
            for arm, placebo in arms(study)
        ],
        "comparison": study.comparison.model_dump(mode="json"),
        "reference": study.reference(),
        "study": study.name,
    }
