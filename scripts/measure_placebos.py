"""Rule measure_placebos."""

from headwise.analyses.placebos.measure import measure_placebos
from headwise.runtime.job import run

run(measure_placebos, snakemake)
