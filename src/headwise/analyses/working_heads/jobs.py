"""What the rule tells the job that looks whether heads of trained models do anything.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.working_heads.rows import WorkingHeadsRow
from headwise.analyses.working_heads.settings import WorkingHeads
from headwise.models.places import checkpoint_of, documents_of, per_seed
from headwise.study.models import AnyModel
from headwise.study.study import Study

TABLES = (WorkingHeadsRow.table,)


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis; none where the study trains no model or does not ask for it."""
    return TABLES if judged_models(study) else ()


def judged_models(study: Study) -> list[AnyModel]:
    """The models that the study trains, then those that it aligns, whose tokenizer and text are those of their base."""
    if study.find(WorkingHeads) is None:
        return []
    return [model for source in ("train", "align") for model in study.models if model.source == source]


def judged_inputs(study: Study) -> dict[str, list[str]]:
    """Of each of these models at each seed: checkpoint, text, and where its heads look."""
    models = judged_models(study)
    refits = [(model.name, seed) for model in models for seed in study.seeds_of(model)]
    return {
        "checkpoints": [checkpoint_of(study, *refit) for refit in refits],
        "documents": [documents_of(study, *refit) for refit in refits],
        "descriptors": per_seed(study, models, "statistics/{model}/seed{seed}/descriptors.parquet"),
    }


def working_heads_arguments(study: Study) -> dict[str, Any]:
    """Of rule measure_working_heads."""
    settings = study.find(WorkingHeads)
    return {"settings": settings.model_dump() if settings else None, "study": study.name}
