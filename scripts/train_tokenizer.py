"""Rule train_tokenizer."""

from headwise.models.tokenizer import train_tokenizer
from headwise.runtime.job import run

run(train_tokenizer, snakemake)
