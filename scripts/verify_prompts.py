"""Rule verify_prompts."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.runtime.logs import logged
from headwise.study.data import Prompts
from headwise.study.prompts import verify_prompts

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    verify_prompts(
        Prompts(**snakemake.params.settings),
        root=Path.cwd(),
        prompts_out=Path(snakemake.output.prompts),
        facts_out=Path(snakemake.output.facts),
    )
