"""Rule compare_refits."""

from headwise.analyses.stability.compare import compare_refits
from headwise.runtime.job import run

run(compare_refits, snakemake)
