"""What rules tell the jobs that feed text back to its model and summarize the chains.

Imported by the Snakefile: nothing heavy is imported here.
"""

from pathlib import Path
from typing import Any

from headwise.study.jobs import model_metadata
from headwise.study.robustness import Arm
from headwise.study.study import Study


def arm_of(study: Study, name: str) -> Arm:
    """The arm of recursive generation of that name."""
    assert study.robustness.recursion is not None
    return next(arm for arm in study.robustness.recursion.arms if arm.name == name)


def chain_arguments(study: Study, arm: str, seed: int, state: str | Path) -> dict[str, Any]:
    """Of rule recurse_model. `state` is a folder that outlives a failed job, which an output does not."""
    assert study.robustness.recursion is not None
    chosen = arm_of(study, arm)
    writer = study.model(chosen.model)
    return {
        "state": str(state),
        "arm": chosen.model_dump(),
        "settings": study.robustness.recursion.model_dump(),
        "extraction": study.extraction_of(writer).model_dump(),
        "loading": study.loading_of(writer).model_dump(),
        "estimators": study.specialization.estimators,
        "metadata": {**model_metadata(study, writer.name, seed), "arm": arm},
    }


def survival_arguments(study: Study) -> dict[str, Any]:
    """Of rule summarize_recursion; no job has them where the study asks for no recursion."""
    recursion = study.robustness.recursion
    return {
        "settings": recursion.model_dump() if recursion else None,
        "comparison": study.comparison.model_dump(),
    }
