"""Rule aggregate."""

from headwise.report.results import aggregate
from headwise.runtime.job import run

run(aggregate, snakemake)
