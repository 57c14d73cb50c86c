"""What rules tell the jobs that estimate and compare specialization.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.study.study import Study


def evaluation_arguments(study: Study) -> dict[str, Any]:
    """Of rule evaluate_specialization."""
    return {"settings": study.specialization.model_dump()}


def pair_arguments(study: Study, name: str) -> dict[str, Any]:
    """Of rule compare_pair, about the descendant of that name."""
    model = study.model(name)
    names = {
        "base": getattr(model, "base", None),
        "aligned": name,
        "family": study.family_of(model),
        "method": getattr(model, "method", None),
    }
    return {"names": names, "seeds": study.seeds_of(model), "settings": study.comparison.model_dump()}


def contrast_arguments(study: Study) -> dict[str, Any]:
    """Of rule contrast_models."""
    return {"settings": study.comparison.model_dump(), "reference": study.reference()}
