"""Rule summarize_recursion."""

from headwise.analyses.recursion.summarize import summarize_recursion
from headwise.runtime.job import run

run(summarize_recursion, snakemake)
