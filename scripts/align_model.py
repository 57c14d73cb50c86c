"""Rule align_model."""

from headwise.models.align import align_model
from headwise.runtime.job import run

run(align_model, snakemake)
