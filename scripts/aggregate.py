"""Rule aggregate."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.report.results import aggregate
from headwise.report.tables import Inputs
from headwise.runtime.logs import logged
from headwise.study.study import Study

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    aggregate(
        Study(**snakemake.params.settings),
        Inputs(
            checkpoints=[Path(path) for path in snakemake.input.get("checkpoints", [])],
            training=[Path(path) for path in snakemake.input.get("training", [])],
            summaries=[Path(path) for path in snakemake.input.summaries],
            descriptors=[Path(path) for path in snakemake.input.descriptors],
            comparisons=[Path(path) for path in snakemake.input.get("comparisons", [])],
            contrasts=Path(snakemake.input.contrasts),
            prompts=Path(snakemake.input.prompts),
            analyses=[Path(path) for path in snakemake.input.get("analyses", [])],
        ),
        tables=Path(snakemake.output.tables),
        results=Path(snakemake.output.results),
    )
