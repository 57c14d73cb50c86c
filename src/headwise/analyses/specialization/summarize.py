"""The tables of specialization, from what single jobs measured; every test adjusted for how many there are."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from headwise.analyses.declaration.rows import DeclaredField
from headwise.analyses.declaration.undeclared import why_undeclared
from headwise.analyses.specialization.agreement import agreement_table
from headwise.analyses.specialization.rows import (
    TABLES,
    AgreementRow,
    CheckRow,
    ComparisonRow,
    ContrastRow,
    DescriptorRow,
    EstimatorRow,
    SpecializationRow,
)
from headwise.analyses.specialization.settings import Specialization
from headwise.analyses.specialization.tested import tested_tables
from headwise.report.gather import check_prompts, gather, repeated_refits
from headwise.runtime.parquet import read_metadata
from headwise.study.study import Study
from headwise.tables.files import read_rows, write_rows

CHECKS = ("head_permutation", "head_permutation_largest_change", "without_layer")


def summarize_specialization(
    study: Study,
    summaries: Sequence[Path],
    heads: Sequence[Path],
    pairs: Sequence[Path],
    models: Path,
    declaration: Path,
    outputs: Mapping[str, Path],
) -> None:
    """Write the finished tables of specialization.

    summaries    what estimators gave, of every model and seed
    heads        their descriptors, of every model and seed
    pairs        comparisons with a base, one file per aligned model
    models       contrasts between models
    declaration  finished table of the declaration

    Raises ReportError where a file belongs to no model of the study, and where two models were measured on different
    prompts.
    """
    undeclared = why_undeclared(read_rows(DeclaredField, declaration))
    measured = [(path, read_metadata(path)) for path in summaries]
    check_prompts(measured)
    specialization, checks = split_checks(gather(study, summaries))
    within, between = tested_tables(study, pairs, models, undeclared)
    repeats = repeated_refits(measured)
    tables = {
        EstimatorRow.table: estimators_table(study, measured),
        SpecializationRow.table: specialization,
        CheckRow.table: checks,
        DescriptorRow.table: gather(study, heads),
        ComparisonRow.table: within,
        ContrastRow.table: between,
        AgreementRow.table: agreement_table(specialization, within, repeats, study.comparison.primary),
    }
    for row in TABLES:
        write_rows(row, tables[row.table], outputs[row.table], {"study": study.name})


def estimators_table(study: Study, measured: Iterable[tuple[Path, Mapping[str, Any]]]) -> pd.DataFrame:
    """Definition, source and range of every estimator, as the measurements carry them."""
    described: dict[str, Mapping[str, Any]] = {}
    for _, metadata in measured:
        described |= metadata.get("estimators", {})
    rows = []
    for name in study.section(Specialization).estimators:
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
