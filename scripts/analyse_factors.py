"""Rule analyse_factors."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.factors.analyse import analyse_factors
from headwise.runtime.logs import logged
from headwise.study.comparison import Comparison

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    analyse_factors(
        [Path(path) for path in snakemake.input.summaries],
        Path(snakemake.output.table),
        Comparison(**snakemake.params.settings),
    )
