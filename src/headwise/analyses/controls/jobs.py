"""What the rule tells the job that runs controls.

Imported by the Snakefile: nothing heavy is imported here.
"""

import os
from glob import escape, glob
from typing import Any

from headwise.analyses.controls.control import Control
from headwise.analyses.controls.settings import Controls
from headwise.analyses.specialization.settings import Specialization
from headwise.models.places import checkpoint_of
from headwise.study.models import Model, TrainedModel
from headwise.study.study import Study

TABLES = (Control.table,)


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis, which every study has."""
    return TABLES


def controlled_model(study: Study) -> TrainedModel | None:
    """The model that controls look at: the first base that the study trains; none where all are made elsewhere."""
    return next((model for model in study.bases() if isinstance(model, TrainedModel)), None)


def measured_model(study: Study) -> Model:
    """The model that is compared with itself."""
    return study.bases()[0]


def controlled_checkpoint(study: Study) -> dict[str, str]:
    """`checkpoint`, where there is a model for controls, at its first seed."""
    model = controlled_model(study)
    return {"checkpoint": checkpoint_of(study, model.name, study.seeds_of(model)[0])} if model else {}


def released_folder(study: Study) -> str | None:
    """Where results lie that others released; None where the study names no folder."""
    return study.section(Controls).released_results


def released_results(study: Study) -> list[str]:
    """Result files that others released, which controls compute again; none where the study names no folder."""
    folder = released_folder(study)
    return sorted(glob(os.path.join(escape(folder), "**", "*.json"), recursive=True)) if folder else []


def control_arguments(study: Study) -> dict[str, Any]:
    """Of rule run_controls."""
    controlled = controlled_model(study)
    return {
        "study": study.name,
        "estimators": study.section(Specialization).estimators,
        "comparison": study.comparison.model_dump(mode="json"),
        "settings": study.section(Controls).model_dump(mode="json"),
        "measured": measured_model(study).name,
        "model": controlled.name if controlled else None,
    }
