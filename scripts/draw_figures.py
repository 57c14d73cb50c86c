"""Rule draw_figures."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.report.figures import draw_figures
from headwise.runtime.logs import logged
from headwise.study.study import Study

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    draw_figures(
        Study(**snakemake.params.settings),
        tables=Path(snakemake.input.tables),
        folder=Path(snakemake.output.figures),
    )
