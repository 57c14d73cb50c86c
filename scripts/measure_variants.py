"""Rule measure_variants."""

from headwise.analyses.variants.measure import measure_variants
from headwise.runtime.job import run

run(measure_variants, snakemake)
