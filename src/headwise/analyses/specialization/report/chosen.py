"""Which estimators figures show."""

import pandas as pd

from headwise.analyses.specialization.settings import Specialization
from headwise.study.study import Study


def estimators(study: Study, rows: pd.DataFrame) -> list[str]:
    """Estimators that the rows have, the primary one first."""
    present = set(rows["estimator"])
    names = [study.comparison.primary, *study.section(Specialization).estimators]
    return [name for name in dict.fromkeys(names) if name in present]
