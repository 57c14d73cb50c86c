"""The tables of a study: what single jobs measured, gathered into tidy Parquet and CSV files.

Every row names model, family, base, method and seed, so that each table can be read alone. Which model and
seed a file belongs to is read from the metadata that the file carries, never from its path.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from headwise.report import parts
from headwise.report.columns import COLUMNS, Tables
from headwise.report.gather import ReportError, check_prompts, gather, repeated_refits
from headwise.report.model_facts import models_table
from headwise.report.rows import ModelRow, TrainingStep
from headwise.runtime.atomic import atomic
from headwise.runtime.json_files import read_json
from headwise.runtime.parquet import read_metadata, read_table, write_table
from headwise.runtime.provenance import json_digest
from headwise.study.study import Study
from headwise.tables.files import write_csv
from headwise.tables.frame import typed_columns


@dataclass(frozen=True)
class Inputs:
    """What the jobs of a study leave behind.

    checkpoints  folders of the models that the study made; each holds a facts.json
    training     their loss curves, one file per model and seed
    measured     a file of every model and seed, whose metadata say how it was measured
    prompts      facts about the prompt set: prompts.json
    analyses     finished tables of the analyses, each named {table}.parquet
    """

    checkpoints: Sequence[Path]
    training: Sequence[Path]
    measured: Sequence[Path]
    prompts: Path
    analyses: Sequence[Path] = ()


def build_tables(study: Study, inputs: Inputs) -> dict[str, pd.DataFrame]:
    """All tables, by name, with their columns and types; those of analyses that the study has not are empty.

    Raises ReportError when a file belongs to no model of the study, or when models were measured on different prompts.
    """
    measured = [(path, read_metadata(path)) for path in inputs.measured]
    check_prompts(measured)
    facts = [read_json(folder / "facts.json") for folder in inputs.checkpoints]
    tables = {
        ModelRow.table: models_table(study, facts, measured, repeated_refits(measured)),
        TrainingStep.table: gather(study, inputs.training),
        **{path.stem: analysis_table(study, path) for path in inputs.analyses},
    }
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


def analysis_table(study: Study, path: Path) -> pd.DataFrame:
    """The finished table of an analysis. Raises ReportError for a table of no analysis, or of another study."""
    if path.stem not in parts.TABLES:
        raise ReportError(f"{path}: the report has no table '{path.stem}': give it to the part of an analysis")
    if (owner := read_metadata(path).get("study")) != study.name:
        raise ReportError(
            f"{path} belongs to study '{owner}', not to '{study.name}': give the files of this study only"
        )
    return read_table(path)
