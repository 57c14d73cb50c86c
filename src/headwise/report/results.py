"""results.json: the study's findings and main rows in one file that validates against a published schema."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, Field, create_model

from headwise.report.columns import Tables
from headwise.report.finding import Finding
from headwise.report.findings import findings
from headwise.report.parts import PARTS
from headwise.report.rows import Judged
from headwise.report.tables import Inputs, build_tables, study_digest, table_metadata, write_tables
from headwise.report.verdicts import CONFIRMATORY, EXPLORATORY
from headwise.runtime.json_files import read_json, write_json
from headwise.runtime.provenance import library_versions
from headwise.study.study import Study
from headwise.tables.files import STRICT, row_model
from headwise.tables.frame import records
from headwise.tables.row import Row, columns_of

FORMAT_VERSION = 1


def _rows(row: type[Row]) -> Any:
    return list[row_model(row.table, columns_of(row))]  # type: ignore[misc]  # a type that is made while running


class StudyFacts(BaseModel):
    """What was declared before anything was computed."""

    model_config = STRICT

    name: str
    title: str
    digest: str = Field(description="SHA-256 of the resolved study file")
    primary: str = Field(description="Estimator that confirmatory tests use")
    equivalence_margin: float = Field(description="Largest change called preserved, in units of the primary estimator")
    level: float = Field(description="Level of tests; intervals cover 1 − level")
    resamples: int = Field(description="Monte Carlo permutations and bootstrap resamples")


class Provenance(BaseModel):
    """Digests of what the results were computed from, and versions of what computed them."""

    model_config = STRICT

    prompts_digest: str = Field(description="SHA-256 of the prompt file")
    corpus_digests: list[str] = Field(description="SHA-256 of the corpora that models were trained on")
    tokenizer_digests: list[str] = Field(description="SHA-256 of the tokenizers")
    versions: dict[str, str] = Field(description="Versions of the libraries")


class Measured(BaseModel):
    """How much was measured."""

    model_config = STRICT

    models: int = Field(description="Models, not counting refits")
    bases: int
    aligned: int
    families: int
    checkpoints: int = Field(description="Models times seeds, without seeds that changed nothing")
    prompts: int
    prompt_domains: int
    estimators: list[str]
    confirmatory_tests: int = Field(description="Tests declared in advance")
    exploratory_tests: int


ROWS = [row for part in PARTS for row in part.tables if row.in_results]

_FIELDS: dict[str, Any] = {
    "format_version": (
        int,
        Field(ge=FORMAT_VERSION, le=FORMAT_VERSION, description="Version of this format"),
    ),
    "study": (StudyFacts, ...),
    "provenance": (Provenance, ...),
    "measured": (Measured, ...),
    "findings": (list[Finding], Field(description="What was found, the most general first")),
}
_FIELDS |= {row.table: (_rows(row), Field(description=f"Main rows of the table {row.table}")) for row in ROWS}

Results = create_model("Results", __config__=STRICT, __doc__="Results of a headwise study.", **_FIELDS)


def results_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of results.json; published as workflow/schemas/results.schema.json."""
    schema = Results.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def aggregate(study: Study, inputs: Inputs, *, tables: Path, results: Path) -> None:
    """Gather what the jobs of a study left behind into a folder of `tables` and the file `results`.

    Raises ReportError when a file belongs to no model of the study, or when models were measured on different prompts.
    """
    built = build_tables(study, inputs)
    write_tables(built, tables, table_metadata(study, inputs))
    write_json(summarize(study, built, read_json(inputs.prompts)), results)


def summarize(study: Study, tables: Tables, prompts: Mapping[str, Any]) -> dict[str, Any]:
    """The content of results.json, from the tables and the facts about the prompts (sha256, count, domains).

    Rows are those of `main_rows`: layers and single heads stay in the tables.
    """
    content = {
        "format_version": FORMAT_VERSION,
        "study": _study_facts(study),
        "provenance": {
            "prompts_digest": prompts["sha256"],
            "corpus_digests": _distinct(tables["models"]["corpus_digest"]),
            "tokenizer_digests": _distinct(tables["models"]["tokenizer_digest"]),
            "versions": library_versions(),
        },
        "measured": _measured(study, tables, prompts),
        "findings": [finding.model_dump(mode="json") for finding in findings(study, tables)],
        **{name: records(rows) for name, rows in main_rows(tables).items()},
    }
    Results.model_validate(content)
    return content


def main_rows(tables: Tables) -> dict[str, pd.DataFrame]:
    """The rows of each table that results.json holds: of tables with layers, those of whole models."""
    return {row.table: _main(row, tables[row.table]) for row in ROWS}


def _main(row: type[Row], rows: pd.DataFrame) -> pd.DataFrame:
    return rows if row.main is None else rows[rows[row.main[0]] == row.main[1]]


def _study_facts(study: Study) -> dict[str, Any]:
    declared = study.comparison.model_dump(include={"primary", "equivalence_margin", "level", "resamples"})
    return {"name": study.name, "title": study.title, "digest": study_digest(study), **declared}


def _measured(study: Study, tables: Tables, prompts: Mapping[str, Any]) -> dict[str, Any]:
    models = tables["models"]
    names = models.drop_duplicates("model")
    judged = [tables[row.table] for row in ROWS if issubclass(row, Judged)]
    tested = pd.concat([rows.loc[rows["p"].notna(), "role"] for rows in judged])
    return {
        "models": len(names),
        "bases": int(names["base"].isna().sum()),
        "aligned": int(names["base"].notna().sum()),
        "families": int(names["family"].nunique()),
        "checkpoints": int(models["repeats_seed"].isna().sum()),
        "prompts": prompts["count"],
        "prompt_domains": len(prompts["domains"]),
        "estimators": list(tables["estimators"]["estimator"]),
        "confirmatory_tests": int((tested == CONFIRMATORY).sum()) + _answered(tables),
        "exploratory_tests": int((tested == EXPLORATORY).sum()),
    }


def _answered(tables: Tables) -> int:
    """Tests of declared questions, in tables that say of each row whether it is confirmatory."""
    rows = [tables[row.table] for row in ROWS if "confirmatory" in {column.name for column in columns_of(row)}]
    return sum(int((each["confirmatory"] & each["p"].notna()).sum()) for each in rows)


def _distinct(values: "pd.Series[str]") -> list[str]:
    return sorted(values.dropna().unique())
