"""What rules tell the jobs that feed text back to its model and summarize the chains.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.recursion.rows import TABLES as ROWS
from headwise.analyses.recursion.settings import Arm, Recursion
from headwise.analyses.specialization.settings import Specialization
from headwise.models.places import checkpoint_of, files_of, results
from headwise.study.jobs import model_metadata
from headwise.study.study import Study

TABLES = tuple(row.table for row in ROWS)


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis; none where the study does not ask for it."""
    return TABLES if study.find(Recursion) else ()


def arm_of(study: Study, name: str) -> Arm:
    """The arm of recursive generation of that name."""
    return next(arm for arm in study.section(Recursion).arms if arm.name == name)


def per_arm(study: Study, table: str) -> list[str]:
    """A table of every arm at each seed of its model."""
    recursion = study.find(Recursion)
    return [
        results(study, f"recursion/{arm.name}/seed{seed}/{table}.parquet")
        for arm in (recursion.arms if recursion else [])
        for seed in study.seeds_of(study.model(arm.model))
    ]


def writer_checkpoint(study: Study, arm: str, seed: int) -> str:
    """The model that writes in an arm."""
    return checkpoint_of(study, arm_of(study, arm).model, seed)


def writer_files(study: Study, arm: str, seed: int) -> list[str]:
    """The other files of that model."""
    return files_of(study, arm_of(study, arm).model, seed)


def chain_arguments(study: Study, arm: str, seed: int) -> dict[str, Any]:
    """Of rule recurse_model. `state` is no output: Snakemake removes those of a failed job, which this must outlive."""
    chosen = arm_of(study, arm)
    writer = study.model(chosen.model)
    return {
        "state": results(study, f"recursion/{arm}/seed{seed}/unfinished"),
        "arm": chosen.model_dump(),
        "settings": study.section(Recursion).model_dump(),
        "extraction": study.extraction_of(writer).model_dump(),
        "loading": study.loading_of(writer).model_dump(),
        "estimators": study.section(Specialization).estimators,
        "metadata": {**model_metadata(study, writer.name, seed), "arm": arm},
    }


def survival_arguments(study: Study) -> dict[str, Any]:
    """Of rule summarize_recursion; no job has them where the study asks for no recursion."""
    recursion = study.find(Recursion)
    return {
        "settings": recursion.model_dump() if recursion else None,
        "comparison": study.comparison.model_dump(),
    }
