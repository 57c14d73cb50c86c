"""What rules tell the jobs that measure the doses of alignment.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.dose.rows import AlignmentDose
from headwise.analyses.dose.settings import Dose, descendants_of, dosed_bases
from headwise.models.places import checkpoint_of, files_of, results
from headwise.study.models import AlignedModel
from headwise.study.reading import reading
from headwise.study.study import Study

TABLES = (AlignmentDose.table,)


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis; none where the study does not ask for it."""
    return TABLES if dosed_bases(study) else ()


def base_checkpoints(study: Study, base: str) -> list[str]:
    """A base beside each of its descendants."""
    return [checkpoint_of(study, base, seed) for _, seed in descendants_of(study, base)]


def descendant_checkpoints(study: Study, base: str) -> list[str]:
    """Its descendants at each of their seeds."""
    return [checkpoint_of(study, model.name, seed) for model, seed in descendants_of(study, base)]


def files_of_descendants(study: Study, base: str) -> list[str]:
    """The other files of all of these."""
    pairs = descendants_of(study, base)
    named = [
        name for model, seed in pairs for name in (*files_of(study, base, seed), *files_of(study, model.name, seed))
    ]
    return list(dict.fromkeys(named))


def dose_arguments(study: Study, base: str) -> dict[str, Any]:
    """Of rule measure_dose."""
    pairs = descendants_of(study, base)
    return {
        "bases": [reading(study, study.model(base)) for _ in pairs],
        "aligned": [reading(study, model) for model, _ in pairs],
        "arms": [
            {
                "seed": seed,
                "base": base,
                "method": getattr(model, "method", None),
                "placebo": isinstance(model, AlignedModel) and model.placebo,
                "dose": model.dose if isinstance(model, AlignedModel) else None,
            }
            for model, seed in pairs
        ],
        "settings": study.section(Dose).model_dump(),
        "metadata": {"study": study.name},
    }


def measured_doses(study: Study) -> list[str]:
    """What rule measure_dose has measured."""
    return [results(study, f"dose/{model.name}.parquet") for model in dosed_bases(study)]


def gathering_arguments(study: Study) -> dict[str, Any]:
    """Of rule gather_doses."""
    return {"metadata": {"study": study.name}}
