"""What rules tell the jobs that compare refits: of the section, the fields that the job reads.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.study.reading import reading
from headwise.study.stability import RefitGroup
from headwise.study.study import Study

PROBED = ("analyses", "words", "residual_tokens", "ablation_excerpts", "ablation_tokens")
COMPARED = ("memory_mb",)
SUMMARIZED = ("head_map_perplexity", "weight_decay", "depths", "parity_margin")


def refit_group(study: Study, name: str) -> RefitGroup:
    """The group of refits of that name."""
    return next(group for group in study.refit_groups() if group.name == name)


def group_metadata(study: Study, name: str) -> dict[str, Any]:
    """What is recorded about a group of refits in every file derived from it."""
    refits = [f"{model} seed {seed}" for model, seed in study.refits_of(refit_group(study, name))]
    return {"study": study.name, "group": name, "refits": refits}


def probe_arguments(study: Study, group: str) -> dict[str, Any]:
    """Of rule probe_refits."""
    return {
        "settings": _fields(study, PROBED),
        "refits": [reading(study, study.model(name)) for name, _ in study.refits_of(refit_group(study, group))],
        "metadata": group_metadata(study, group),
    }


def comparison_arguments(study: Study, group: str) -> dict[str, Any]:
    """Of rule compare_refits."""
    return {"settings": _fields(study, COMPARED), "metadata": group_metadata(study, group)}


def summary_arguments(study: Study) -> dict[str, Any]:
    """Of rule summarize_stability; no job has them where the study compares no refits."""
    return {
        "settings": _fields(study, SUMMARIZED),
        "comparison": study.comparison.model_dump(include={"level", "resamples"}),
        "metadata": {"study": study.name},
    }


def _fields(study: Study, fields: tuple[str, ...]) -> dict[str, Any]:
    return study.stability.model_dump(include=set(fields)) if study.stability else {}
