"""What the rule tells the job that tests placebos of one arm against each other.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.placebos.rows import PlaceboRow
from headwise.models.places import per_seed
from headwise.study.arms import arms_with_placebos
from headwise.study.models import AlignedModel
from headwise.study.study import Study

TABLES = (PlaceboRow.table,)


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis; none where no arm has two placebos."""
    return TABLES if compared_arms(study) else ()


def compared_arms(study: Study) -> list[tuple[AlignedModel, list[AlignedModel]]]:
    """Arms that have two placebos or more, with these."""
    return [(arm, own) for arm, own in arms_with_placebos(study) if len(own) > 1]


def placebo_features(study: Study) -> list[str]:
    """Features of these placebos and of their bases, at every seed."""
    names = {name for arm, own in compared_arms(study) for name in (arm.base, *(model.name for model in own))}
    models = [model for model in study.models if model.name in names]
    return per_seed(study, models, "specialization/{model}/seed{seed}/features.parquet")


def placebo_arguments(study: Study) -> dict[str, Any]:
    """Of rule measure_placebos."""
    return {
        "arms": [
            {"base": arm.base, "method": arm.method, "dose": arm.dose, "placebos": [model.name for model in own]}
            for arm, own in compared_arms(study)
        ],
        "comparison": study.comparison.model_dump(mode="json"),
        "study": study.name,
    }
