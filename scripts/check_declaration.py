"""Rule check_declaration."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.declaration.declare import check_declaration
from headwise.runtime.logs import logged
from headwise.study.comparison import Comparison

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    check_declaration(
        Path(snakemake.input.declaration),
        Comparison(**snakemake.params.settings["comparison"]),
        snakemake.params.settings["study"],
        Path(snakemake.output.table),
    )
