"""Rule probe_refits."""

from headwise.analyses.stability.probe import probe_refits
from headwise.runtime.job import run

run(probe_refits, snakemake)
