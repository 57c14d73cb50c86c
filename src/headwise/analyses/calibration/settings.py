"""The section about calibration: how the study's own tests are tried out on data in which nothing is to be found."""

from typing import Annotated

from pydantic import Field

from headwise.study.section import ONCE, Positive, Rate, Section


class Calibration(Section):
    """Simulations of `snakemake calibration`."""

    simulations: Positive = Field(2000, ge=100, description="Simulated data sets for every procedure and scenario")
    effects: Annotated[list[Rate], ONCE] = Field(
        [0.1, 0.2, 0.5, 1.0, 2.0],
        min_length=1,
        description="Effects whose detection is counted, in standard deviations of a unit's difference",
    )
    domain_correlations: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], ONCE] = Field(
        [0.1, 0.3],
        description="Correlations of prompts within a domain for which tests over single prompts are tried out as well",
    )


SECTIONS = {"calibration": (Calibration, Calibration())}
