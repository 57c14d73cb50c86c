"""Rule contrast_models."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.specialization.contrast import contrast_models
from headwise.runtime.logs import logged
from headwise.study.comparison import Comparison

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    contrast_models(
        [Path(path) for path in snakemake.input.summaries],
        [Path(path) for path in snakemake.input.get("comparisons", [])],
        output=Path(snakemake.output.contrasts),
        reference=snakemake.params.settings["reference"],
        settings=Comparison(**snakemake.params.settings["comparison"]),
    )
