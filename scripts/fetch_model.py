"""Rule fetch_model."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.models.hub import fetch_model
from headwise.runtime.logs import logged
from headwise.study.models import Download

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    fetch_model(
        [Download(**download) for download in snakemake.params.settings["downloads"]],
        study_file=Path(snakemake.resources.study_file),
        output=Path(snakemake.output.fetched),
    )
