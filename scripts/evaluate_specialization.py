"""Rule evaluate_specialization."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.specialization.evaluate import evaluate
from headwise.runtime.logs import logged
from headwise.study.specialization import Specialization

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    evaluate(
        Path(snakemake.input.heads),
        Path(snakemake.input.pairs),
        features=Path(snakemake.output.features),
        summary=Path(snakemake.output.summary),
        settings=Specialization(**snakemake.params.settings),
        seed=int(snakemake.wildcards.seed),
    )
