"""The section about tests: what is declared before anything is computed."""

from pydantic import Field

from headwise.study.section import Name, Rate, Section


class Comparison(Section):
    """What is declared before anything is computed."""

    primary: str = Field("hellinger", description="The one estimator that confirmatory tests use")
    equivalence_margin: Rate = Field(
        0.02, description="Largest change still called 'preserved', in the primary's units"
    )
    level: float = Field(0.05, gt=0, lt=0.5, description="Level of tests; intervals cover 1 − level")
    resamples: int = Field(10_000, ge=99, description="Monte Carlo permutations and bootstrap resamples")
    reference: Name | None = Field(
        None, description="Base model that other bases are contrasted with; default: the first"
    )
