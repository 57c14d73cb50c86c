"""Whether tests count as declared in advance."""

import pandas as pd

from headwise.report.labels import plain

LATE = "the declaration was written when results were there already"


def why_undeclared(rows: pd.DataFrame) -> str | None:
    """Why no test counts as declared in advance, from the table of the declaration; None where it stands.

    It stands or falls as a whole: a set of tests from which one is dropped, or another estimator, level or margin, is
    another declaration.
    """
    if rows.empty:
        return None
    if rows["results_existed"].any():
        return LATE
    changed = rows.loc[rows["changed"], "field"]
    return None if changed.empty else f"declared otherwise before results were there: {', '.join(map(plain, changed))}"
