"""Rule align_model."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.models.align import align_model
from headwise.runtime.logs import logged
from headwise.study.training import Dpo, Sft

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = {"sft": Sft, "dpo": Dpo}[snakemake.params.settings["method"]]
    align_model(
        Path(snakemake.input.base),
        Path(snakemake.input.documents),
        snakemake.params.settings["method"],
        settings(**snakemake.params.settings["alignment"]),
        seed=int(snakemake.wildcards.seed),
        checkpoint=Path(snakemake.output.checkpoint),
        curve=Path(snakemake.output.curve),
        metadata=snakemake.params.settings["metadata"],
    )
