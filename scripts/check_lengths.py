"""Rule check_lengths."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.planning.feasibility import check_lengths
from headwise.runtime.logs import logged
from headwise.study.parse import parse_study

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    study = parse_study(snakemake.params.study, "the study")
    check_lengths(
        study,
        Path(next(iter(snakemake.input.prompts), study.prompts.path)),
        Path(snakemake.input.tokenizer),
        Path(snakemake.output.checked),
    )
