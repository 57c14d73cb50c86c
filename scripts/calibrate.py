"""Rule calibrate."""

from headwise.analyses.calibration.calibrate import calibrate
from headwise.runtime.job import run

run(calibrate, snakemake)
