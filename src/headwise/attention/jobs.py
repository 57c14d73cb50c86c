"""What the rule tells the job that extracts attention.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.study.jobs import model_metadata
from headwise.study.study import Study


def extraction_arguments(study: Study, name: str, seed: int) -> dict[str, Any]:
    """Of rule extract_attention."""
    model = study.model(name)
    return {
        "settings": study.extraction_of(model).model_dump(),
        "loading": study.loading_of(model).model_dump(),
        "metadata": model_metadata(study, name, seed),
    }
