"""What the rule tells the job that divides specialization among factors.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.study.study import Study


def factor_arguments(study: Study) -> dict[str, Any]:
    """Of rule analyse_factors."""
    return {"settings": study.comparison.model_dump(mode="json")}
