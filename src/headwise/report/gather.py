"""Files of single models and seeds, gathered. Which model and seed a file belongs to is read from the metadata that it
carries, never from its path."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from headwise.report.columns import IDENTITY
from headwise.runtime.parquet import read_metadata, read_table
from headwise.study.study import Study


class ReportError(ValueError):
    """Results that cannot be reported together; the message names the files and what to do."""


def identity(study: Study, metadata: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Model, family, base, method and seed of a file.

    Raises ReportError where the study has no such model and seed.
    """
    name, seed = metadata.get("model"), metadata.get("seed")
    for model in study.models:
        if model.name == name and seed in study.seeds_of(model):
            base, method = getattr(model, "base", None), study.method_of(model)
            return {
                "model": name,
                "family": study.family_of(model),
                "base": base,
                "method": method,
                "seed": seed,
            }
    raise ReportError(
        f"{path} belongs to model '{name}', seed {seed}, which is not in study '{study.name}': "
        "give the files of this study only"
    )


def gather(study: Study, paths: Iterable[Path]) -> pd.DataFrame:
    """Files with the same columns as one table: IDENTITY in front, models and seeds as in the study.

    Raises ReportError where two files are of one model and seed.
    """
    parts: dict[tuple[str, int], pd.DataFrame] = {}
    first: dict[tuple[str, int], Path] = {}
    for path in paths:
        names = identity(study, read_metadata(path), path)
        key = names["model"], names["seed"]
        if (other := first.setdefault(key, path)) != path:
            raise ReportError(f"{other} and {path} are both of model '{key[0]}', seed {key[1]}: give one of them only")
        part = read_table(path)
        for position, column in enumerate(IDENTITY):
            part.insert(position, column, pd.Series(names[column], index=part.index, dtype=_dtype(column)))
        parts[key] = part
    order = [(model.name, seed) for model in study.models for seed in study.seeds_of(model)]
    return _stack([parts[key] for key in order if key in parts])


def check_prompts(measured: Iterable[tuple[Path, Mapping[str, Any]]]) -> None:
    """Raise ReportError where two files with their metadata were not measured on the same prompts."""
    seen: dict[str | None, Path] = {}
    for path, metadata in measured:
        seen.setdefault(metadata.get("prompts_digest"), path)
    if len(seen) > 1:
        first, second, *_ = seen.values()
        raise ReportError(
            f"{first} and {second} were measured on different prompts: measure both models on the same prompt set"
        )


def repeated_refits(measured: Iterable[tuple[Path, Mapping[str, Any]]]) -> dict[tuple[str, int], int]:
    """Which (model, seed) has the weights of an earlier seed of that model: such a seed changed nothing.

    A file without a digest of weights is taken for a refit of its own.
    """
    first: dict[tuple[str, str], int] = {}
    repeats = {}
    for path, metadata in measured:
        model, seed = metadata["model"], metadata["seed"]
        earlier = first.setdefault((model, metadata.get("weights_digest") or str(path)), seed)
        if earlier != seed:
            repeats[model, seed] = earlier
    return repeats


def _dtype(column: str) -> str:
    return "Int64" if column == "seed" else "string"


def _stack(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
