"""Rule fetch_model."""

from headwise.models.hub import fetch_model
from headwise.runtime.job import run

run(fetch_model, snakemake)
