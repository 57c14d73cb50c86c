"""What the rule tells the job that divides specialization among factors.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.factors.rows import FactorRow, Outcome
from headwise.study.arms import arms
from headwise.study.study import Study

TABLES = (FactorRow.table,)


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis, which every study has."""
    return TABLES


def factor_arguments(study: Study) -> dict[str, Any]:
    """Of rule analyse_factors. Arms of a larger dose are left out: factors are crossed at one dose."""
    made = arms(study)
    pairs = [(arm.name, placebo.name) for arm, placebo in made if arm.dose == 1]
    if not made:
        pairs = [(model.name, base) for model in study.models if (base := getattr(model, "base", None)) is not None]
    return {
        "settings": study.comparison.model_dump(mode="json"),
        "changes": [{"model": model, "against": against} for model, against in pairs],
        "outcome": (Outcome.EFFECT if made else Outcome.CHANGE).value,
    }
