"""What a re-analysis found, in sentences."""

from collections.abc import Iterator, Sequence

from headwise.published.indices import SAME_AS
from headwise.published.row import Row, figure


def findings(rows: Sequence[Row]) -> list[str]:
    """Sentences about the rows of a re-analysis, the weightiest first; none about what no file holds."""
    parts = (_indices, _head_order, _changes, _noise, _claims, _seeds)
    return [sentence for part in parts for sentence in part(rows)]


def _of(rows: Sequence[Row], kind: str) -> list[Row]:
    return [row for row in rows if row.kind == kind]


def _indices(rows: Sequence[Row]) -> Iterator[str]:
    indices = _of(rows, "index")
    same, other, missing = (sum(row.agreement == each for row in indices) for each in ("yes", "no", "not recomputed"))
    again = sum(row.value is not None and SAME_AS in (row.remark or "") for row in indices)
    if same or other:
        twice = f" {again} repeat a matrix that stands elsewhere, and are no further measurements." if again else ""
        yield f"Of {same + other} printed indices whose matrix of entropies is there, {same} are reproduced.{twice}"
    if missing:
        yield f"{missing} printed indices cannot be computed again: their files hold no matrix of entropies."


def _head_order(rows: Sequence[Row]) -> Iterator[str]:
    printed = {(row.file, row.place): row.value for row in _of(rows, "index")}
    shifts = [
        abs(row.value - index)
        for row in _of(rows, "head order")
        if row.value is not None and (index := printed.get((row.file, row.place))) is not None
    ]
    if shifts:
        yield (
            f"With the heads of each layer in random orders, {len(shifts)} indices move by {figure(max(shifts), 2)} at "
            "most, mean over orders. What does not change then says nothing of single heads."
        )


def _changes(rows: Sequence[Row]) -> Iterator[str]:
    absolute, relative = (
        sum(row.printed is not None for row in _of(rows, kind)) for kind in ("absolute change", "relative change")
    )
    if absolute and relative:
        yield f"Changes are printed in two units: {absolute} in those of the index, {relative} in per cent of the base."


def _noise(rows: Sequence[Row]) -> Iterator[str]:
    for row in _of(rows, "noise ratio"):
        if row.value is None or row.quantity.startswith("denominator"):
            continue
        between = "unbounded" if row.low is None else f"{figure(row.low, 3)} to {figure(row.high, 3)}"
        beside = "" if row.printed is None else f" (printed: {figure(row.printed, 3)})"
        yield f"{row.quantity[0].upper()}{row.quantity[1:]}: {figure(row.value, 3)}, interval {between}{beside}."


def _claims(rows: Sequence[Row]) -> Iterator[str]:
    claims = [row for row in _of(rows, "claimed p") if row.p_attainable is not None]
    beyond = [row for row in claims if row.remark is not None and "can give no p below" in row.remark]
    if claims:
        yield f"Of {len(claims)} claims of significance, {len(beyond)} rest on designs that can give no p below 0.05."


def _seeds(rows: Sequence[Row]) -> Iterator[str]:
    sets = _of(rows, "seeds")
    equal = sum(row.value == 0 for row in sets)
    if sets:
        yield f"In {equal} of {len(sets)} sets of seeds all seeds have one result: they were no repetitions."
