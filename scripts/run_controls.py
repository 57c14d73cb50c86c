"""Rule run_controls."""

from headwise.analyses.controls.run import run_controls
from headwise.runtime.job import run

run(run_controls, snakemake)
