"""Rule check_declaration."""

from headwise.analyses.declaration.declare import check_declaration
from headwise.runtime.job import run

run(check_declaration, snakemake)
