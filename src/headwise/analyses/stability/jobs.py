"""What rules tell the jobs that compare refits: of the section, the fields that the job reads.

Imported by the Snakefile: nothing heavy is imported here.
"""

from collections.abc import Iterable
from typing import Any

from headwise.analyses.stability.settings import RefitGroup, Stability, refit_groups
from headwise.analyses.stability.settings import refits_of as refits_of_group
from headwise.models.places import checkpoint_of, results
from headwise.study.reading import reading
from headwise.study.study import Study

TABLES = ("stability", "stability_origins", "stability_head_map", "stability_quantities")
PROBE_FIELDS = ("analyses", "words", "residual_tokens", "ablation_excerpts", "ablation_tokens")
COMPARISON_FIELDS = ("memory_mb",)
SUMMARY_FIELDS = ("head_map_perplexity", "weight_decay", "depths", "parity_margin")


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis; none where the study does not ask for it."""
    return TABLES if refit_groups(study) else ()


def refit_group(study: Study, name: str) -> RefitGroup:
    """The group of refits of that name."""
    return next(group for group in refit_groups(study) if group.name == name)


def refits_of(study: Study, group: str) -> list[tuple[str, int]]:
    """Name of the model and seed of every refit of a group, the published anchor first."""
    return refits_of_group(study, refit_group(study, group))


def refit_checkpoints(study: Study, group: str) -> list[str]:
    """The models of a group."""
    return [checkpoint_of(study, *refit) for refit in refits_of(study, group)]


def refit_tensors(study: Study, group: str) -> list[str]:
    """The stored attention of a group's models."""
    return [results(study, f"attention/{name}/seed{seed}.parquet") for name, seed in refits_of(study, group)]


def per_group(study: Study, tables: Iterable[str]) -> dict[str, list[str]]:
    """By table, that of every group."""
    groups = [group.name for group in refit_groups(study)]
    return {table: [results(study, f"stability/{group}/{table}.parquet") for group in groups] for table in tables}


def group_metadata(study: Study, name: str) -> dict[str, Any]:
    """What is recorded about a group of refits in every file derived from it."""
    refits = [f"{model} seed {seed}" for model, seed in refits_of(study, name)]
    return {"study": study.name, "group": name, "refits": refits}


def probe_arguments(study: Study, group: str) -> dict[str, Any]:
    """Of rule probe_refits."""
    return {
        "settings": _fields(study, PROBE_FIELDS),
        "refits": [reading(study, study.model(name)) for name, _ in refits_of(study, group)],
        "metadata": group_metadata(study, group),
    }


def comparison_arguments(study: Study, group: str) -> dict[str, Any]:
    """Of rule compare_refits."""
    return {"settings": _fields(study, COMPARISON_FIELDS), "metadata": group_metadata(study, group)}


def summary_arguments(study: Study) -> dict[str, Any]:
    """Of rule summarize_stability; no job has them where the study compares no refits."""
    return {
        "settings": _fields(study, SUMMARY_FIELDS),
        "comparison": study.comparison.model_dump(include={"level", "resamples"}),
        "metadata": {"study": study.name},
    }


def takes_heads_away(study: Study) -> bool:
    """Whether the importance of heads is measured on held-out text."""
    settings = study.find(Stability)
    return settings is not None and "ablation" in settings.analyses


def random_refits(study: Study) -> list[str]:
    """Names of the models with random weights of a group."""
    settings = study.find(Stability)
    return [f"random{number}" for number in range(settings.random_refits if settings else 0)]


def comparison_memory_mb(study: Study) -> int:
    """The attention that a job which compares refits may hold at once."""
    settings = study.find(Stability)
    return settings.memory_mb if settings else 0


def _fields(study: Study, fields: tuple[str, ...]) -> dict[str, Any]:
    settings = study.find(Stability)
    return settings.model_dump(include=set(fields)) if settings else {}
