"""Rule summarize_specialization."""

from headwise.analyses.specialization.summarize import summarize_specialization
from headwise.runtime.job import run

run(summarize_specialization, snakemake)
