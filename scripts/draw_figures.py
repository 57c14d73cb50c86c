"""Rule draw_figures."""

from headwise.report.figures import draw_figures
from headwise.runtime.job import run

run(draw_figures, snakemake)
