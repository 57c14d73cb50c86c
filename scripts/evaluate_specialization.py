"""Rule evaluate_specialization."""

from headwise.analyses.specialization.evaluate import evaluate
from headwise.runtime.job import run

run(evaluate, snakemake)
