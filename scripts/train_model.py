"""Rule train_model."""

from headwise.models.train import train_model
from headwise.runtime.job import run

run(train_model, snakemake)
