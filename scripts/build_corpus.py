"""Rule build_corpus."""

from headwise.models.corpus import build_corpus
from headwise.runtime.job import run

run(build_corpus, snakemake)
