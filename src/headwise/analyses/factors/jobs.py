"""What the rule tells the job that divides specialization among factors.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.factors.rows import FactorRow
from headwise.study.study import Study

TABLES = (FactorRow.table,)


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis, which every study has."""
    return TABLES


def factor_arguments(study: Study) -> dict[str, Any]:
    """Of rule analyse_factors."""
    return {"settings": study.comparison.model_dump(mode="json")}
