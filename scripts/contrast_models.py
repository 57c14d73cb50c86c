"""Rule contrast_models."""

from headwise.analyses.specialization.contrast import contrast_models
from headwise.runtime.job import run

run(contrast_models, snakemake)
