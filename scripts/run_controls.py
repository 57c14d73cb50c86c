"""Rule run_controls."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.controls.run import run_controls
from headwise.runtime.logs import logged
from headwise.study.comparison import Comparison
from headwise.study.controls import Controls

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    run_controls(
        snakemake.params.settings["study"],
        snakemake.params.settings["estimators"],
        Comparison(**snakemake.params.settings["comparison"]),
        Controls(**snakemake.params.settings["controls"]),
        [(snakemake.params.settings["model"], Path(path)) for path in snakemake.input.get("checkpoint", [])],
        (snakemake.params.settings["measured"], Path(snakemake.input.features)),
        [Path(path) for path in snakemake.input.summaries],
        Path(snakemake.input.prompts),
        Path(snakemake.output.table),
    )
