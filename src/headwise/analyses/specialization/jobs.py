"""What rules tell the jobs that estimate and compare specialization.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.specialization.rows import TABLES as ROWS
from headwise.analyses.specialization.settings import Specialization
from headwise.models.places import per_seed, results
from headwise.study.study import Study

TABLES = tuple(row.table for row in ROWS)


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis, which every study has."""
    return TABLES


def summaries(study: Study) -> list[str]:
    """What estimators gave, of every model at each seed."""
    return per_seed(study, study.models, "specialization/{model}/seed{seed}/summary.parquet")


def base_features(study: Study, aligned: str) -> list[str]:
    """Features of the base of an aligned model, at each seed of the aligned one."""
    return _features(study, str(getattr(study.model(aligned), "base", None)), aligned)


def aligned_features(study: Study, aligned: str) -> list[str]:
    """Features of an aligned model at each seed."""
    return _features(study, aligned, aligned)


def comparisons(study: Study) -> list[str]:
    """The comparison of every aligned model with its base."""
    return [results(study, f"specialization/{model.name}/comparison.parquet") for model in study.descendants()]


def evaluation_arguments(study: Study) -> dict[str, Any]:
    """Of rule evaluate_specialization."""
    return {"settings": study.section(Specialization).model_dump()}


def pair_arguments(study: Study, name: str) -> dict[str, Any]:
    """Of rule compare_pair, about the descendant of that name."""
    model = study.model(name)
    names = {
        "base": getattr(model, "base", None),
        "aligned": name,
        "family": study.family_of(model),
        "method": study.method_of(model),
    }
    return {"names": names, "seeds": study.seeds_of(model), "settings": study.comparison.model_dump()}


def contrast_arguments(study: Study) -> dict[str, Any]:
    """Of rule contrast_models."""
    return {"settings": study.comparison.model_dump(), "reference": study.reference()}


def summary_arguments(study: Study) -> dict[str, Any]:
    """Of rule summarize_specialization."""
    return {"study": study.model_dump(mode="json", exclude={"title"})}


def _features(study: Study, name: str, aligned: str) -> list[str]:
    seeds = study.seeds_of(study.model(aligned))
    return [results(study, f"specialization/{name}/seed{seed}/features.parquet") for seed in seeds]
