"""Rule gather_variants."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.variants.confounds import gather_variants
from headwise.runtime.logs import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    gather_variants(
        [Path(path) for path in snakemake.input.parts],
        [Path(path) for path in snakemake.input.get("comparisons", [])],
        variants=Path(snakemake.output.variants),
        confounds=Path(snakemake.output.confounds),
        study=snakemake.params.settings["study"],
    )
