"""Rule extract_attention."""

from headwise.attention.extract import extract_attention
from headwise.runtime.job import run

run(extract_attention, snakemake)
