"""The tables of a study: what single jobs measured, gathered into tidy Parquet and CSV files.

Every row names model, family, base, method and seed, so that each table can be read alone. Which model and
seed a file belongs to is read from the metadata that the file carries, never from its path.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from headwise.report import parts
from headwise.report.agreement import agreement_table
from headwise.report.columns import COLUMNS, IDENTITY, Tables
from headwise.report.model_facts import models_table
from headwise.report.tested import tested_tables
from headwise.report.undeclared import why_undeclared
from headwise.runtime.atomic import atomic
from headwise.runtime.json_files import read_json
from headwise.runtime.parquet import read_metadata, read_table, write_table
from headwise.runtime.provenance import json_digest
from headwise.study.study import Study
from headwise.tables.files import write_csv
from headwise.tables.frame import typed_columns

CHECKS = ("head_permutation", "head_permutation_largest_change", "without_layer")


class ReportError(ValueError):
    """Results that cannot be reported together; the message names the files and what to do."""


@dataclass(frozen=True)
class Inputs:
    """What the jobs of a study leave behind.

    checkpoints  folders of the models that the study made; each holds a facts.json
    training     their loss curves, one file per model and seed
    summaries    specialization of every model and seed: summary.parquet
    descriptors  descriptors of the heads of every model and seed
    comparisons  one file per aligned model
    contrasts    contrasts between models
    prompts      facts about the prompt set: prompts.json
    analyses     finished tables of the other parts of the report, each named {table}.parquet
    """

    checkpoints: Sequence[Path]
    training: Sequence[Path]
    summaries: Sequence[Path]
    descriptors: Sequence[Path]
    comparisons: Sequence[Path]
    contrasts: Path
    prompts: Path
    analyses: Sequence[Path] = ()


def build_tables(study: Study, inputs: Inputs) -> dict[str, pd.DataFrame]:
    """All tables, by name, with their columns and types; those of analyses that the study has not are empty.

    Raises ReportError when a file belongs to no model of the study, or when models were measured on different prompts.
    """
    measured = [(path, read_metadata(path)) for path in inputs.summaries]
    check_prompts(measured)
    repeats = repeated_refits(measured)
    specialization, checks = split_checks(gather(study, inputs.summaries))
    analyses = {path.stem: analysis_table(study, path) for path in inputs.analyses}
    undeclared = why_undeclared(analyses.get("declaration", pd.DataFrame()))
    comparisons, contrasts = tested_tables(study, inputs.comparisons, inputs.contrasts, undeclared)
    facts = [read_json(folder / "facts.json") for folder in inputs.checkpoints]
    tables = {
        "models": models_table(study, facts, measured, repeats),
        "training": gather(study, inputs.training),
        "estimators": estimators_table(study, measured),
        "specialization": specialization,
        "checks": checks,
        "descriptors": gather(study, inputs.descriptors),
        "comparisons": comparisons,
        "contrasts": contrasts,
        "agreement": agreement_table(specialization, comparisons, repeats, study.comparison.primary),
    }
    tables |= analyses
    for part in parts.PARTS:
        tables |= part.derived(study, tables)
    for part in parts.PARTS:
        tables |= part.completed(tables)
    return {name: typed_columns(name, parts.TABLES[name], tables.get(name, pd.DataFrame())) for name in parts.TABLES}


def write_tables(tables: Tables, folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write the tables to `folder`/{table}.parquet and .csv, replacing the folder at once.

    Tables of analyses that the study has not are left out. Text in CSV is that of `text_for_csv`.
    """
    with atomic(folder) as temporary:
        for name, table in tables.items():
            if table.empty and name not in COLUMNS:
                continue
            write_table(table, temporary / f"{name}.parquet", {**metadata, "table": name})
            write_csv(table, temporary / f"{name}.csv")


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables that `write_tables` wrote, by name, with their types; those that it left out are empty."""
    paths = {name: folder / f"{name}.parquet" for name in parts.TABLES}
    return {
        name: typed_columns(
            name, parts.TABLES[name], read_table(path) if name in COLUMNS or path.is_file() else pd.DataFrame()
        )
        for name, path in paths.items()
    }


def table_metadata(study: Study, inputs: Inputs) -> dict[str, Any]:
    """The provenance that tables carry: study, digest of its resolved study file, digest of its prompts."""
    return {
        "study": study.name,
        "study_digest": study_digest(study),
        "prompts_digest": read_json(inputs.prompts)["sha256"],
    }


def study_digest(study: Study) -> str:
    """SHA-256 of the resolved study file: all fields, those with default values included."""
    return json_digest(study.model_dump(mode="json"))


def identity(study: Study, metadata: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Model, family, base, method and seed of a file.

    Raises ReportError where the study has no such model and seed.
    """
    name, seed = metadata.get("model"), metadata.get("seed")
    for model in study.models:
        if model.name == name and seed in study.seeds_of(model):
            base, method = getattr(model, "base", None), getattr(model, "method", None)
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


def analysis_table(study: Study, path: Path) -> pd.DataFrame:
    """The finished table of an analysis. Raises ReportError for a table of no analysis, or of another study."""
    if path.stem not in parts.TABLES:
        raise ReportError(f"{path}: the report has no table '{path.stem}': give it to the part of an analysis")
    if (owner := read_metadata(path).get("study")) != study.name:
        raise ReportError(
            f"{path} belongs to study '{owner}', not to '{study.name}': give the files of this study only"
        )
    return read_table(path)


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


def estimators_table(study: Study, measured: Iterable[tuple[Path, Mapping[str, Any]]]) -> pd.DataFrame:
    """Definition, source and range of every estimator, as the measurements carry them."""
    described: dict[str, Mapping[str, Any]] = {}
    for _, metadata in measured:
        described |= metadata.get("estimators", {})
    rows = []
    for name in study.specialization.estimators:
        role = "primary" if name == study.comparison.primary else "secondary"
        facts = described.get(name, {})
        rows.append(
            {"estimator": name, "role": role} | {key: facts.get(key) for key in ("definition", "source", "low", "high")}
        )
    return pd.DataFrame(rows)


def split_checks(summaries: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Separate what estimators measured from the checks on them: (specialization, checks)."""
    plain = summaries[~summaries["scope"].isin(CHECKS)].drop(columns="deviation")
    keys = ["model", "seed", "estimator", "sink"]
    checks = summaries[summaries["scope"].isin(("head_permutation", "without_layer"))]
    at = pd.MultiIndex.from_frame(checks[keys])

    def of_scope(scope: str) -> "pd.Series[float]":
        values = summaries[summaries["scope"] == scope].set_index(keys)["value"]
        return pd.Series(values.reindex(at).to_numpy("float64"), index=checks.index)

    value = of_scope("model")
    largest = of_scope("head_permutation_largest_change").where(checks["scope"] == "head_permutation")
    table = checks.rename(columns={"scope": "check", "value": "checked_value"})
    table = table.assign(value=value, change=table["checked_value"] - value, largest_change=largest)
    return plain, table


def _dtype(column: str) -> str:
    return "Int64" if column == "seed" else "string"


def _stack(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
