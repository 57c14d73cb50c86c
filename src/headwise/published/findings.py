"""What a re-analysis found, in sentences, each with the files and fields that it is about."""

from collections.abc import Iterator, Sequence

from headwise.published.claims import Verdict
from headwise.published.findings_beside import (
    of_models,
    of_probes,
    of_quotes,
    of_repetition,
    of_scale,
    of_spreads,
)
from headwise.published.row import Row, figure
from headwise.published.sources import sourced


def findings(rows: Sequence[Row]) -> list[str]:
    """Sentences about the rows of a re-analysis, the weightiest first; none about what no file holds."""
    parts = (
        _claims, _indices, of_models, _head_order, _changes, of_probes, _noise, of_quotes, of_repetition, of_scale,
        _seeds, of_spreads,
    )  # fmt: skip
    return [sentence for part in parts for sentence in part(rows)]


def _of(rows: Sequence[Row], kind: str) -> list[Row]:
    return [row for row in rows if row.kind == kind]


def _claims(rows: Sequence[Row]) -> Iterator[str]:
    claims = _of(rows, "claim")
    if not claims:
        return
    printed = sum(row.times or 1 for row in claims)
    yield sourced(
        f"{printed} fields print a p or a verdict of significance: they are {len(claims)} distinct claims.", claims
    )
    for verdict in Verdict:
        those = [row for row in claims if row.verdict == verdict]
        if those:
            fields = sum(row.times or 1 for row in those)
            yield sourced(f"{len(those)} of them, in {fields} fields: {_said(verdict, those)}.", those)


def _said(verdict: Verdict, claims: Sequence[Row]) -> str:
    """The verdict in words; with the least n and the smallest p where that is the point."""
    units = sorted({row.n for row in claims if row.n is not None})
    smallest = min((row.p_attainable for row in claims if row.p_attainable is not None), default=None)
    if verdict in (Verdict.OUT_OF_REACH, Verdict.ONLY_NOT_ZERO) and units and smallest is not None:
        return f"{verdict} (n = {', '.join(map(str, units))}; smallest p {figure(smallest, 3)})"
    exact = [row.p for row in claims if row.p is not None]
    if verdict == Verdict.AGREES and exact:
        return f"{verdict} (p up to {figure(max(exact), 2)}); each is about one curve of one seed, no more"
    return verdict


def _indices(rows: Sequence[Row]) -> Iterator[str]:
    indices, matrices = _of(rows, "index"), _of(rows, "matrix")
    same, other, missing = (
        [row for row in indices if row.agreement == each] for each in ("yes", "no", "not recomputed")
    )
    if same or other:
        yield sourced(
            f"Of {len(same) + len(other)} printed indices whose matrix of entropies is there, {len(same)} are "
            "reproduced.", [*same, *other], "entropies",
        )  # fmt: skip
    copied = [row for row in matrices if (row.times or 1) > 1]
    if matrices:
        models = len({row.model for row in matrices})
        copies = sum((row.times or 1) - 1 for row in copied)
        yield sourced(
            f"They come from {len(matrices)} distinct matrices, of {models} model{'' if models == 1 else 's'}: "
            f"{copies} are copies.", copied or matrices, "entropies",
        )  # fmt: skip
    if missing:
        yield sourced(
            f"{len(missing)} printed indices cannot be computed again: their files hold no matrix of entropies.",
            missing, "entropies",
        )  # fmt: skip


def _head_order(rows: Sequence[Row]) -> Iterator[str]:
    printed = {(row.file, row.place): row.value for row in _of(rows, "index")}
    orders = [row for row in _of(rows, "head order") if row.value is not None]
    shifts = [
        abs(row.value - index)
        for row in orders
        if row.value is not None and (index := printed.get((row.file, row.place))) is not None
    ]
    if shifts:
        yield sourced(
            f"With the heads of each layer in random orders, {len(shifts)} indices move by {figure(max(shifts), 2)} at "
            "most, mean over orders. What does not change then says nothing of single heads.", orders, "entropies",
        )  # fmt: skip


def _changes(rows: Sequence[Row]) -> Iterator[str]:
    absolute, relative = (
        [row for row in _of(rows, kind) if row.printed is not None] for kind in ("absolute change", "relative change")
    )
    if absolute and relative:
        yield sourced(
            f"Changes are printed in two units: {len(absolute)} in those of the index, {len(relative)} in per cent of "
            "the base.", [*absolute, *relative], "delta_si, delta_specialization, delta_si_pct",
        )  # fmt: skip


def _noise(rows: Sequence[Row]) -> Iterator[str]:
    for row in _of(rows, "noise ratio"):
        if row.value is None or row.quantity.startswith("denominator"):
            continue
        between = "unbounded" if row.low is None else f"{figure(row.low, 3)} to {figure(row.high, 3)}"
        beside = "" if row.printed is None else f" (printed: {figure(row.printed, 3)})"
        yield sourced(
            f"{row.quantity[0].upper()}{row.quantity[1:]}: {figure(row.value, 3)}, interval {between}{beside}.",
            [row], "ppl_curve",
        )  # fmt: skip


def _seeds(rows: Sequence[Row]) -> Iterator[str]:
    sets = _of(rows, "seeds")
    equal = [row for row in sets if row.value == 0]
    if sets:
        yield sourced(
            f"In {len(equal)} of {len(sets)} sets of seeds all seeds have one result: they were no repetitions.",
            equal or sets,
        )  # fmt: skip
