"""A control on released result files: printed indices against those of the matrices that stand beside them."""

from collections.abc import Iterator
from pathlib import Path

from headwise.analyses.controls.control import Control, not_run, within
from headwise.analyses.specialization.estimators.entropy_profile import summary
from headwise.published.items import Index
from headwise.published.release import read_release

CONTROL = "published indices from released matrices"
EXPECTED = "the printed number"
ROUNDING = 1e-12


def released_control(folder: str | None) -> Control:
    """The largest difference between a printed index and the one of its matrix. `folder`: of the files, if any."""
    if folder is None:
        why = "no study holds the released files: name their folder in `controls.released_results`"
        return not_run(CONTROL, EXPECTED, why)
    found = list(differences(Path(folder)))
    if not found:
        return not_run(CONTROL, EXPECTED, f"no file below {folder} holds a printed index with its matrix of entropies")
    return within(CONTROL, f"{len(found)} indices below {Path(folder).name}", EXPECTED, max(found), 0.0, ROUNDING)


def differences(folder: Path) -> Iterator[float]:
    """Absolute differences, one for each printed index that has a matrix of entropies."""
    for item in read_release(folder).items:
        if isinstance(item, Index) and item.entropies is not None and item.printed is not None:
            yield abs(float(summary(item.entropies)) - item.printed)
