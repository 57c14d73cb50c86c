"""Rule convert_model."""

from headwise.models.convert import convert_model
from headwise.runtime.job import run

run(convert_model, snakemake)
