"""Rule gather_variants."""

from headwise.analyses.variants.confounds import gather_variants
from headwise.runtime.job import run

run(gather_variants, snakemake)
