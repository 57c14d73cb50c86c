"""Rule measure_working_heads."""

from headwise.analyses.working_heads.measure import measure_working_heads
from headwise.runtime.job import run

run(measure_working_heads, snakemake)
