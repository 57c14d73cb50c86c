"""Rule summarize_stability."""

from headwise.analyses.stability.summarize import summarize_stability
from headwise.runtime.job import run

run(summarize_stability, snakemake)
