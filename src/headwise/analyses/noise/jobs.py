"""What rules tell the jobs that perturb models and summarize their responses.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.study.jobs import model_metadata
from headwise.study.perturbation import perturbation_settings, probed_descendants
from headwise.study.reading import reading
from headwise.study.study import Study


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
    probe = study.robustness.probe
    return {
        "settings": {
            "bases": {model.name: getattr(model, "base", None) for model in study.models},
            "reference": study.reference(),
            "primary": study.comparison.primary,
            "probe": probe.model_dump() if probe else None,
            "comparison": study.comparison.model_dump(),
        }
    }
