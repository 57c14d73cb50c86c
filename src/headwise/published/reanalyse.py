"""A folder of released result files, analysed again: one table and one page."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from headwise.published.beside import file_rows, model_rows, scale_rows, spread_rows
from headwise.published.claims import claim_rows, seed_rows
from headwise.published.indices import Seen, index_rows, matrix_rows, pair_rows
from headwise.published.items import (
    Claim,
    Failed,
    Index,
    Item,
    NamedFile,
    NoiseCurve,
    OtherValue,
    Pair,
    ProbedRegion,
    ProbeEffect,
    Quoted,
    Ratio,
    RepetitionChange,
    RepetitionCurve,
    ScaleRange,
    Seeds,
    Setting,
    Spread,
    Unread,
)  # fmt: skip
from headwise.published.noise import curve_rows, ratio_rows
from headwise.published.page import page
from headwise.published.probe import probe_rows
from headwise.published.quotes import quote_rows
from headwise.published.release import NOTHING_KNOWN, read_release
from headwise.published.repetition import repetition_rows
from headwise.published.row import Row
from headwise.runtime.atomic import atomic
from headwise.runtime.parquet import write_table
from headwise.runtime.progress import track
from headwise.runtime.provenance import json_digest
from headwise.tables.csv_text import text_for_csv

if TYPE_CHECKING:
    import pandas

Kind = TypeVar("Kind")


def reanalyse(folder: Path, output: Path) -> "pandas.DataFrame":
    """Read the files below `folder`; write reanalysis.parquet, reanalysis.csv and reanalysis.html to `output`.

    Returns the table: one row per number (columns: `Row`). The page loads nothing. Raises ValueError where the folder
    holds no JSON file.
    """
    release = read_release(folder)
    rows = list(reanalysis(release.items))
    table = _frame(rows)
    write_table(table, output / "reanalysis.parquet", {"release_digest": json_digest(release.digests)})
    with atomic(output / "reanalysis.csv") as temporary:
        text_for_csv(table).to_csv(temporary, index=False, lineterminator="\n")
    with atomic(output / "reanalysis.html") as temporary:
        temporary.write_text(page(rows, release.digests), encoding="utf-8")
    return table


def reanalysis(items: Sequence[Item]) -> Iterator[Row]:
    """Rows of all items, kind by kind; a file whose items give none has one that says so."""
    named = set()
    for row in _rows(items):
        named.add(row.file)
        yield row
    for file in dict.fromkeys(item.place.file for item in items):
        if file not in named:
            yield Row("not used", file, "", None, None, "file", remark=NOTHING_KNOWN)


def _rows(items: Sequence[Item]) -> Iterator[Row]:
    indices, pairs = Seen(), Seen()
    for item in track(items, "re-analysis", len(items)):
        if isinstance(item, Index):
            yield from index_rows(item, indices)
        elif isinstance(item, Pair):
            yield from pair_rows(item, pairs)
        elif isinstance(item, NoiseCurve):
            yield from curve_rows(item)
    curves = _of(items, NoiseCurve)
    yield from ratio_rows(curves, _of(items, Ratio))
    yield from quote_rows(_of(items, Quoted), curves)
    yield from matrix_rows(_of(items, Index))
    yield from model_rows(_of(items, Index), _of(items, OtherValue), _of(items, Pair), _of(items, Setting))
    yield from claim_rows(_of(items, Claim), curves)
    yield from probe_rows(_of(items, ProbedRegion), _of(items, ProbeEffect))
    yield from repetition_rows(_of(items, RepetitionCurve), _of(items, RepetitionChange))
    yield from scale_rows(_of(items, ScaleRange))
    yield from seed_rows(_of(items, Seeds))
    yield from spread_rows(_of(items, Spread))
    yield from file_rows(_of(items, Failed), _of(items, NamedFile), [item.place.file for item in items])
    for item in items:
        if isinstance(item, Unread):
            place = item.place
            at, what = (str(place), place.keys[-1]) if place.keys else ("", "file")
            yield Row("not used", place.file, at, place.model, place.seed, what, remark=item.reason)


def _of(items: Sequence[Item], kind: type[Kind]) -> list[Kind]:
    return [item for item in items if isinstance(item, kind)]


def outcome(table: "pandas.DataFrame") -> str:
    """What came out, in one sentence."""
    if table["kind"].eq("not used").all():
        return f"Nothing in {table['file'].nunique()} files could be used: the table says of each why."
    counts = Counter(table.loc[table["kind"].isin(["index", "absolute change", "relative change"]), "agreement"])
    return (
        f"{table['file'].nunique()} files, {len(table)} rows: of the printed indices and changes {counts['yes']} are "
        f"reproduced, {counts['no']} are not, {counts['not recomputed']} could not be computed again."
    )


def _frame(rows: Sequence[Row]) -> "pandas.DataFrame":
    import pandas as pd

    types: dict[str, Any] = dict.fromkeys(("printed", "value", "low", "high", "p", "p_attainable"), "float64")
    types |= {"n": "Int64", "times": "Int64"}  # a seed is text: it may be larger than any number of a table or page
    table = pd.DataFrame([asdict(row) for row in rows], columns=[field.name for field in fields(Row)])
    return table.astype({name: types.get(name, "string") for name in table.columns})
