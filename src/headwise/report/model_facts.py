"""One row per model and refit: what it is, how it was made, how well it models text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from headwise.study import Study


def models_table(
    study: Study,
    facts: Sequence[Mapping[str, Any]],
    measured: Sequence[tuple[Path, Mapping[str, Any]]],
    repeats: Mapping[tuple[str, int], int],
) -> pd.DataFrame:
    return pd.DataFrame()
