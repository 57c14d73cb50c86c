"""Rule compare_refits."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.stability.compare import compare_refits
from headwise.runtime.logs import logged
from headwise.study.stability import Stability

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    compare_refits(
        [Path(path) for path in snakemake.input.tensors],
        [Path(path) for path in snakemake.input.random],
        Path(snakemake.input.beginnings),
        **{table: Path(snakemake.output[table]) for table in ("pairs", "heads", "origins")},
        settings=Stability(**snakemake.params.settings["stability"]),
        metadata=snakemake.params.settings["metadata"],
    )
