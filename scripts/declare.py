"""Rule declare."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.declaration import declare
from headwise.logs import logged
from headwise.study.parse import parse_study

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    # From the configuration, not from params: a later change of it must not make this file again.
    declaration = Path(snakemake.output.declaration)
    declare(
        parse_study(snakemake.config, "the study file").comparison,
        declaration.parent / "specialization",
        declaration,
    )
