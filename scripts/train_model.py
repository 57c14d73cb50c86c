"""Rule train_model."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.models.train import train_model
from headwise.runtime.devices import own_devices
from headwise.runtime.logs import logged
from headwise.study.training import Decoder, Training

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]), own_devices(snakemake.resources.gpu):
    train_model(
        Path(snakemake.input.documents),
        Path(snakemake.input.tokenizer),
        Decoder(**snakemake.params.settings["decoder"]),
        Training(**snakemake.params.settings["training"]),
        seed=int(snakemake.wildcards.seed),
        checkpoint=Path(snakemake.output.checkpoint),
        curve=Path(snakemake.output.curve),
        metadata=snakemake.params.settings["metadata"],
    )
