"""A control on released result files: printed indices against those of the matrices that stand beside them."""

from pathlib import Path

from headwise.analyses.controls.control import Control, not_run, within
from headwise.runtime.parquet import read_metadata, read_table

CONTROL = "published indices from released matrices"
EXPECTED = "the printed number"
ROUNDING = 1e-12


def released_control(released: Path | None) -> Control:
    """The largest difference between a printed index and the one of its matrix.

    released  table of rule compute_released, with columns `printed` and `computed`; None where the study names no files
    """
    if released is None:
        why = "no study holds the released files: name their folder in `controls.released_results`"
        return not_run(CONTROL, EXPECTED, why)
    rows, folder = read_table(released, ["printed", "computed"]), Path(read_metadata(released)["folder"])
    if rows.empty:
        return not_run(CONTROL, EXPECTED, f"no file below {folder} holds a printed index with its matrix of entropies")
    largest = (rows["printed"] - rows["computed"]).abs().max(skipna=False)
    return within(CONTROL, f"{len(rows)} indices below {folder.name}", EXPECTED, float(largest), 0.0, ROUNDING)
