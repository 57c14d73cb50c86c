"""Rule declare."""

from headwise.analyses.declaration.declare import declare
from headwise.runtime.job import run

run(declare, snakemake)
