"""Rule declare."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.declaration.declare import declare
from headwise.runtime.logs import logged
from headwise.study.comparison import Comparison

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    declaration = Path(snakemake.output.declaration)
    declare(Comparison(**snakemake.params.settings), declaration.parent / "specialization", declaration)
