"""What rules tell their jobs about prompts and about where a model comes from.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.study.study import Study

SEED_CHANGES = {
    "train": "initialisation and data order",
    "align": "the refit of the base, and which pairs are seen in which order",
}
REFIT_BY_SEED = "the weights: each seed names a refit of its own"
PROTOCOL_SEED = "nothing in the model: only the random tokens of the induction score and the orders of the head check"


def prompts_arguments(study: Study) -> dict[str, Any]:
    """Of rule verify_prompts."""
    return {"settings": study.prompts.model_dump()}


def model_metadata(study: Study, name: str, seed: int) -> dict[str, Any]:
    """What is recorded about a model at a seed in every file derived from it."""
    model = study.model(name)
    made_elsewhere = REFIT_BY_SEED if getattr(model, "has_refits", False) else PROTOCOL_SEED
    return {
        "study": study.name,
        "model": model.name,
        "family": study.family_of(model),
        "source": model.source,
        "base": getattr(model, "base", None),
        "method": study.method_of(model),
        "data": getattr(study.model(model.base) if model.source == "align" else model, "data", None),
        "seed": seed,
        "seed_changes": SEED_CHANGES.get(model.source, made_elsewhere),
    }
