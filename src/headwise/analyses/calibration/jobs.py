"""What the rule tells the job that calibrates the tests.

Imported by the Snakefile: nothing heavy is imported here.
"""

from pathlib import Path
from typing import Any

from headwise.analyses.calibration.rates import Rate
from headwise.analyses.calibration.settings import Calibration
from headwise.analyses.calibration.shape import units_of
from headwise.study.study import Study

TABLES = (Rate.table,)


def tables(study: Study) -> tuple[str, ...]:
    """The finished table once it is there: it is made on request, and the report shows it from then on."""
    made = all(Path("results", study.name, "analyses", f"{table}.parquet").exists() for table in TABLES)
    return TABLES if made else ()


def calibration_arguments(study: Study) -> dict[str, Any]:
    """Of rule calibrate."""
    return {
        "study": study.name,
        "units": units_of(study),
        "settings": study.section(Calibration).model_dump(mode="json"),
        "level": study.comparison.level,
    }
