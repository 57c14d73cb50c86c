"""Rule calibrate."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.calibration.calibrate import calibrate
from headwise.runtime.logs import logged
from headwise.study.study import Study

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    calibrate(
        Study(**snakemake.params.settings),
        Path(snakemake.input.prompts),
        Path(snakemake.output.table),
    )
