"""What rules tell the jobs that measure variants of the extraction and gather them.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.specialization.settings import Specialization
from headwise.analyses.variants.rows import TABLES as ROWS
from headwise.analyses.variants.settings import Variants, measured_with_variants
from headwise.models.places import results
from headwise.study.jobs import model_metadata
from headwise.study.study import Study

TABLES = tuple(row.table for row in ROWS)


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis; none where the study does not ask for it."""
    return TABLES if study.section(Variants).variants else ()


def variant_arguments(study: Study, name: str, seed: int) -> dict[str, Any]:
    """Of rule measure_variants."""
    model = study.model(name)
    return {
        "settings": study.section(Variants).model_dump(),
        "extraction": study.extraction_of(model).model_dump(),
        "loading": study.loading_of(model).model_dump(),
        "specialization": study.section(Specialization).model_dump(),
        "metadata": model_metadata(study, name, seed),
    }


def measured_variants(study: Study) -> list[str]:
    """What rule measure_variants has measured, of every model and seed that it is asked about."""
    return [
        results(study, f"variants/{model.name}/seed{seed}.parquet") for model, seed in measured_with_variants(study)
    ]


def gathering_arguments(study: Study) -> dict[str, Any]:
    """Of rule gather_variants."""
    return {"study": study.name}
