"""Rule recurse_model."""

from headwise.analyses.recursion.chain import recurse
from headwise.runtime.job import run

run(recurse, snakemake)
