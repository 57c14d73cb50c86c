"""Rule write_report."""

from headwise.report.page import write_page
from headwise.runtime.job import run

run(write_page, snakemake)
