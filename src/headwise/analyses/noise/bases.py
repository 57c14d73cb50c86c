"""Which models the perturbation experiments of a study are run on."""

from typing import TYPE_CHECKING, Any

from headwise.analyses.noise.settings import Noise, Probe, measured_bases
from headwise.analyses.specialization.settings import Specialization
from headwise.study.models import Model

if TYPE_CHECKING:
    from headwise.study.study import Study


def perturbed_bases(study: "Study") -> list[Model]:
    """Bases that noise or the probe is run on, in the order of the study."""
    chosen = {*measured_bases(study, study.find(Noise)), *measured_bases(study, study.find(Probe))}
    return [model for model in study.bases() if model.name in chosen]


def probed_descendants(study: "Study", base: str, seed: int) -> list[Model]:
    """Aligned models that are probed beside their base, at one seed."""
    if base not in measured_bases(study, study.find(Probe)):
        return []
    return [
        model for model in study.descendants() if getattr(model, "base", None) == base and seed in study.seeds_of(model)
    ]


def perturbation_settings(study: "Study", base: str) -> dict[str, Any]:
    """What the experiments on a base need: sections `noise` and `probe`, None where they leave it out, whether its key
    and value heads are duplicated, and the names of estimators."""
    noise, probe = study.find(Noise), study.find(Probe)
    return {
        "noise": noise.model_dump(mode="json") if noise and base in measured_bases(study, noise) else None,
        "probe": probe.model_dump(mode="json") if probe and base in measured_bases(study, probe) else None,
        "duplicate": noise is not None and base in noise.duplicate,
        "estimators": study.section(Specialization).estimators,
    }
