"""What rules tell the jobs that perturb models and summarize their responses.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.noise.bases import perturbation_settings, perturbed_bases, probed_descendants
from headwise.analyses.noise.rows import TABLES as ROWS
from headwise.analyses.noise.settings import Probe
from headwise.models.places import checkpoint_of, files_of
from headwise.study.jobs import model_metadata
from headwise.study.reading import reading
from headwise.study.study import Study

TABLES = tuple(row.table for row in ROWS)


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis; none where the study does not ask for it."""
    return TABLES if perturbed_bases(study) else ()


def aligned_checkpoints(study: Study, name: str, seed: int) -> list[str]:
    """The models that are probed beside a base, at one seed."""
    return [checkpoint_of(study, model.name, seed) for model in probed_descendants(study, name, seed)]


def files_of_family(study: Study, name: str, seed: int) -> list[str]:
    """The other files of a base and of those."""
    family = [name, *(model.name for model in probed_descendants(study, name, seed))]
    return [file for each in family for file in files_of(study, each, seed)]


def perturbation_arguments(study: Study, name: str, seed: int) -> dict[str, Any]:
    """Of rule perturb_model, about a base and its descendants."""
    return {
        "settings": perturbation_settings(study, name),
        "base": reading(study, study.model(name)),
        "aligned": [reading(study, model) for model in probed_descendants(study, name, seed)],
        "metadata": model_metadata(study, name, seed),
    }


def response_arguments(study: Study) -> dict[str, Any]:
    """Of rule summarize_perturbations."""
    probe = study.find(Probe)
    return {
        "settings": {
            "bases": {model.name: getattr(model, "base", None) for model in study.models},
            "reference": study.reference(),
            "primary": study.comparison.primary,
            "probe": probe.model_dump(mode="json") if probe else None,
            "comparison": study.comparison.model_dump(),
        }
    }
