"""Rule summarize_stability."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.stability.group import GroupFiles
from headwise.analyses.stability.summarize import summarize_stability
from headwise.runtime.logs import logged
from headwise.study.comparison import Comparison
from headwise.study.stability import Stability

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    tables = [[Path(path) for path in snakemake.input[field]] for field in GroupFiles.__dataclass_fields__]
    summarize_stability(
        [GroupFiles(*files) for files in zip(*tables, strict=True)],
        stability=Path(snakemake.output.stability),
        origins=Path(snakemake.output.origins),
        heads=Path(snakemake.output.heads),
        claims=Path(snakemake.output.claims),
        settings=Stability(**snakemake.params.settings["stability"]),
        comparison=Comparison(**snakemake.params.settings["comparison"]),
        metadata=snakemake.params.settings["metadata"],
    )
