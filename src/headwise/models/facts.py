"""Whether a configuration is what a study says of the model."""

from pathlib import Path

from headwise.models.architecture import ArchitectureError, architecture_facts
from headwise.models.configuration import read_config
from headwise.models.headers import CheckpointError
from headwise.study.models import Facts

# Stated numbers of parameters are rounded, and counted with or without tied embeddings.
PARAMETER_TOLERANCE = 0.01
EXACT = ("layers", "hidden", "heads", "key_value_heads", "head_width")


def verify_facts(config: Path, stated: Facts) -> None:
    """Refuse a config.json that says otherwise than the study. Raises CheckpointError, which names each difference."""
    loaded = read_config(config)
    try:
        found = architecture_facts(loaded)
    except ArchitectureError as error:
        raise CheckpointError(f"{config}: cannot be compared with `facts` of the study: {error}") from None
    windows = [window for window in found["windows"] if window is not None]
    found = {**found, "window": min(windows, default=None), "model_type": loaded.model_type}
    compared = [*EXACT, "window", *(["model_type"] if stated.model_type else [])]
    wrong = [
        f"{field} is {getattr(stated, field)} in the study and {found[field]} in config.json"
        for field in compared
        if getattr(stated, field) != found[field]
    ]
    if abs(found["parameters"] - stated.parameters) > PARAMETER_TOLERANCE * found["parameters"]:
        wrong.append(f"parameters are {stated.parameters} in the study and {found['parameters']} by config.json")
    if wrong:
        raise CheckpointError(f"{config}: {'; '.join(wrong)}: correct `facts`, or choose the model that is meant")
