"""How a model of a study is read: what a rule tells a job in plain values, and what the job makes of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwise.study.extraction import Extraction
from headwise.study.models import Loading, Model

if TYPE_CHECKING:
    from headwise.study.study import Study


@dataclass(frozen=True)
class Reading:
    """A checkpoint as `load_checkpoint` takes it, the precision and template that it is measured with, and how its
    weights are brought into memory."""

    name: str
    checkpoint: Path
    extraction: Extraction
    loading: Loading


def reading(study: "Study", model: Model) -> dict[str, Any]:
    """How a model is read: its name, and the sections extraction and loading as they hold for it."""
    sections = {"extraction": study.extraction_of(model).model_dump(), "loading": study.loading_of(model).model_dump()}
    return {"name": model.name, **sections}
