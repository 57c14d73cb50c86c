"""Rule write_report."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.report.page import write_page
from headwise.runtime.logs import logged
from headwise.study.study import Study

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    write_page(
        Study(**snakemake.params.settings),
        tables=Path(snakemake.input.tables),
        results=Path(snakemake.input.results),
        figures=Path(snakemake.input.figures),
        page=Path(snakemake.output.page),
    )
