"""What the rule tells the job that calibrates the tests.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.study.study import Study


def calibration_arguments(study: Study) -> dict[str, Any]:
    """Of rule calibrate."""
    return {"study": study.model_dump(mode="json", exclude={"title"})}
