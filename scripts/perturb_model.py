"""Rule perturb_model."""

from headwise.analyses.noise.experiment import perturb_refit
from headwise.runtime.job import run

run(perturb_refit, snakemake)
