"""Rule measure_dose."""

from headwise.analyses.dose.measure import measure_dose
from headwise.runtime.job import run

run(measure_dose, snakemake)
