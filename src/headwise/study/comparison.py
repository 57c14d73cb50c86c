"""The section about tests: what is declared before anything is computed."""

from typing import Annotated, Literal

from pydantic import Field

from headwise.study.section import ONCE, Name, Rate, Section, Whole

Kind = Literal["comparison", "architecture", "alignment_difference", "alignment_pooled"]
KINDS: tuple[Kind, ...] = ("comparison", "architecture", "alignment_difference", "alignment_pooled")


class Comparison(Section):
    """What is declared before anything is computed."""

    primary: str = Field("hellinger", description="The one estimator that confirmatory tests use")
    confirmatory: Annotated[list[Kind], ONCE] | None = Field(
        None,
        description="Of a study without `questions`, tests of the primary estimator that are confirmatory, adjusted "
        "together by Holm's method; default: all. comparison: each aligned model against its base, within each refit; "
        "architecture: each base against the reference; alignment_difference: its change against the reference's; "
        "alignment_pooled: mean change over families",
    )
    equivalence_margin: Rate = Field(
        0.02, description="Largest change still called 'preserved', in the primary's units"
    )
    level: float = Field(0.05, gt=0, lt=0.5, description="Level of tests; intervals cover 1 − level")
    resamples: Whole = Field(10_000, ge=99, description="Monte Carlo permutations and bootstrap resamples")
    reference: Name | None = Field(
        None, description="Base model that other bases are contrasted with; default: the first"
    )
