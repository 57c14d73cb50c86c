"""Rule analyse_factors."""

from headwise.analyses.factors.analyse import analyse_factors
from headwise.runtime.job import run

run(analyse_factors, snakemake)
