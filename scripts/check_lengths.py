"""Rule check_lengths."""

from headwise.planning.feasibility import check_lengths
from headwise.runtime.job import run

run(check_lengths, snakemake)
