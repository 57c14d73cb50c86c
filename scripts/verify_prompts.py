"""Rule verify_prompts."""

from headwise.runtime.job import run
from headwise.study.prompts import verify_prompts

run(verify_prompts, snakemake)
