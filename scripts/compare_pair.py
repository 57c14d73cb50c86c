"""Rule compare_pair."""

from headwise.analyses.specialization.compare import compare_pair
from headwise.runtime.job import run

run(compare_pair, snakemake)
