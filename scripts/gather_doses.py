"""Rule gather_doses."""

from headwise.analyses.dose.gather import gather_doses
from headwise.runtime.job import run

run(gather_doses, snakemake)
