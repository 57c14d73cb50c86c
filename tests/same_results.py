"""Compare the results of a study before and after a change of the code that must not change them.

    python tests/same_results.py OLD/results/tiny NEW/results/tiny

OLD and NEW are folders that the same study file wrote. Names of tables, columns and values may differ as renames.yaml
beside this file says; numbers may not, but for the columns that it gives a tolerance. Findings are compared as the
sentences of results.json. Prints one line per difference, and ends with 1 where there is any.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

RENAMES = Path(__file__).with_name("renames.yaml")


def differences(old: Path, new: Path, renames: dict[str, Any]) -> Iterator[str]:
    """A line per difference between two folders of results."""
    before = {path.stem: pd.read_parquet(path) for path in sorted((old / "tables").glob("*.parquet"))}
    after = {path.stem: pd.read_parquet(path) for path in sorted((new / "tables").glob("*.parquet"))}
    before = {renames["tables"].get(name, name): table for name, table in before.items()}
    for name in sorted((before.keys() ^ after.keys()) - renames["new"].keys()):
        yield f"table {name}: only {'before' if name in before else 'after'}"
    for name in sorted(before.keys() & after.keys()):
        yield from table_differences(name, before[name], after[name], renames)
    sentences = [[each["sentence"] for each in read_findings(folder)] for folder in (old, new)]
    for sentence in sorted(set(sentences[0]) ^ set(sentences[1])):
        yield f"finding only {'before' if sentence in sentences[0] else 'after'}: {sentence}"


def table_differences(name: str, before: pd.DataFrame, after: pd.DataFrame, renames: dict[str, Any]) -> Iterator[str]:
    """A line per difference between two tables, the older one renamed first."""
    before = before.rename(columns=renames["columns"].get(name, {}))
    before = before.drop(columns=list(renames["removed"].get(name, ())), errors="ignore")
    after = after.drop(columns=list(renames["added"].get(name, ())), errors="ignore")
    for column in sorted(set(before) ^ set(after)):
        yield f"{name}.{column}: only {'before' if column in before else 'after'}"
    if len(before) != len(after):
        yield f"{name}: {len(before)} rows before, {len(after)} after"
        return
    for column in sorted(set(before) & set(after)):
        values = renames["values"].get(name, {}).get(column, {})
        old = before[column].map(lambda cell, values=values: renamed(cell, values))
        new = after[column]
        tolerance = renames["tolerances"].get(name, {}).get(column, 0)
        both_empty = old.isna().to_numpy() & new.isna().to_numpy()
        equal = both_empty | (old.astype(object).to_numpy() == new.astype(object).to_numpy())
        if tolerance:
            distance = (pd.to_numeric(old, errors="coerce") - pd.to_numeric(new, errors="coerce")).abs()
            equal |= (distance <= tolerance).fillna(False).to_numpy(bool)
        if not equal.all():
            place = int((~equal).argmax())
            yield f"{name}.{column}: {(~equal).sum()} cells; row {place}: {old.iloc[place]!r} -> {new.iloc[place]!r}"


def renamed(cell: Any, values: dict[str, str]) -> Any:
    """What a cell is called now."""
    if isinstance(cell, str):
        for pattern, now in values.items():
            if re.fullmatch(pattern, cell):
                return now
    return cell


def read_findings(folder: Path) -> list[dict[str, Any]]:
    """The findings of a study."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))["findings"]


if __name__ == "__main__":
    found = list(differences(*map(Path, sys.argv[1:3]), yaml.safe_load(RENAMES.read_text(encoding="utf-8"))))
    print("\n".join(found) or "the same results")
    sys.exit(bool(found))
