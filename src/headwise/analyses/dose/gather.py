"""The table of doses of all bases."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from headwise.analyses.dose.rows import AlignmentDose
from headwise.tables.files import read_rows, write_rows


def gather_doses(parts: Sequence[Path], metadata: Mapping[str, Any], table: Path) -> None:
    """Write the tables of all bases (`parts`) as one."""
    rows = pd.concat([read_rows(AlignmentDose, part) for part in parts], ignore_index=True)
    write_rows(AlignmentDose, rows, table, metadata)
