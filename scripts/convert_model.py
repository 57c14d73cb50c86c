"""Rule convert_model."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.models.convert import convert_model
from headwise.runtime.logs import logged
from headwise.study.models import TransformerLensModel

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    fetched = snakemake.input.get("fetched")
    convert_model(
        TransformerLensModel(**snakemake.params.settings["model"]),
        seed=int(snakemake.wildcards.seed),
        fetched=Path(fetched) if fetched else None,
        checkpoint=Path(snakemake.output.checkpoint),
        metadata=snakemake.params.settings["metadata"],
    )
