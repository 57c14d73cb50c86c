"""Rule measure_effects."""

from headwise.analyses.effects.measure import measure_effects
from headwise.runtime.job import run

run(measure_effects, snakemake)
