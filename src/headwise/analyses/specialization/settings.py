"""The section about estimators of specialization."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from headwise.attention.pair_statistics import PAIR_STATISTICS
from headwise.study.models import LoadedModel
from headwise.study.section import Section, Whole

if TYPE_CHECKING:
    from headwise.study.study import Study

ESTIMATOR_FOLDER = Path(__file__).parent / "estimators"


def known_estimators() -> list[str]:
    """Names of the estimators: one module each under `specialization/estimators/`."""
    return sorted(path.stem for path in ESTIMATOR_FOLDER.glob("[a-z]*.py"))


class Specialization(Section):
    """Which estimators are computed."""

    estimators: list[str] = Field(
        default_factory=known_estimators, min_length=1, description="Names of estimators; default: all there are"
    )
    head_permutations: Whole = Field(200, ge=1, description="Random orders of heads within layers, for the check")

    def pair_statistics(self) -> list[str]:
        """Statistics of pairs of heads that the selected estimators read; each has the name of its estimator."""
        return [name for name in PAIR_STATISTICS if name in self.estimators]

    @field_validator("estimators")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in known_estimators():
                raise ValueError(f"unknown estimator '{name}': choose from {', '.join(known_estimators())}")
        if repeated := [name for name, count in Counter(names).items() if count > 1]:
            raise ValueError(f"estimator '{repeated[0]}' is listed twice: remove one")
        return names


# A factory keeps the names of today's estimators out of the published schema: a new one is one new file.
SECTIONS = {"specialization": (Specialization, Field(default_factory=Specialization))}


def pair_statistics(study: "Study") -> list[str]:
    """What the selected estimators need from extraction."""
    return study.section(Specialization).pair_statistics()


def problems(study: "Study") -> Iterator[str]:
    """Estimators that the rest of the study contradicts."""
    estimators = study.section(Specialization).estimators
    if study.comparison.primary not in estimators:
        yield f"comparison.primary: '{study.comparison.primary}' is not among specialization.estimators: add it there"
    for position, model in enumerate(study.models):
        if isinstance(model, LoadedModel) and model.quantization and "output_cka" in estimators:
            yield (
                f"models.{position} ('{model.name}').quantization: output_cka reads output projections, which "
                "quantized weights do not show: leave output_cka out of specialization.estimators, or the quantization "
                "out"
            )
