"""The section about estimators of specialization."""

from collections import Counter
from pathlib import Path

from pydantic import Field, field_validator

from headwise.study.section import Section, Whole

ESTIMATOR_FOLDER = Path(__file__).parents[1] / "analyses" / "specialization" / "estimators"
# Statistics of pairs of heads that extraction computes when the estimator of the same name is selected.
PAIR_STATISTICS = ("hellinger", "js_divergence", "pattern_correlation", "output_cka")


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
        """Statistics of pairs of heads that the selected estimators need from extraction."""
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
