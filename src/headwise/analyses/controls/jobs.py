"""What the rule tells the job that runs controls.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.study.models import Model, TrainedModel
from headwise.study.study import Study


def controlled_model(study: Study) -> TrainedModel | None:
    """The model that controls look at: the first base that the study trains; none where all are made elsewhere."""
    return next((model for model in study.bases() if isinstance(model, TrainedModel)), None)


def measured_model(study: Study) -> Model:
    """The model that is compared with itself."""
    return study.bases()[0]


def control_arguments(study: Study) -> dict[str, Any]:
    """Of rule run_controls."""
    controlled = controlled_model(study)
    return {
        "study": study.name,
        "estimators": study.specialization.estimators,
        "comparison": study.comparison.model_dump(mode="json"),
        "settings": study.controls.model_dump(mode="json"),
        "measured": measured_model(study).name,
        "model": controlled.name if controlled else None,
    }
