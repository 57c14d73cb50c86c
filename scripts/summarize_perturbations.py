"""Rule summarize_perturbations."""

from headwise.analyses.noise.summarize import summarize_perturbations
from headwise.runtime.job import run

run(summarize_perturbations, snakemake)
