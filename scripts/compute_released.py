"""Rule compute_released."""

from headwise.published.released import compute_released
from headwise.runtime.job import run

run(compute_released, snakemake)
