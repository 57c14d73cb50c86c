"""Rule train_tokenizer."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.models.tokenizer import train_tokenizer
from headwise.runtime.logs import logged
from headwise.study.data import Tokenizer

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    train_tokenizer(
        Path(snakemake.input.documents),
        Tokenizer(**snakemake.params.settings),
        folder=Path(snakemake.output.tokenizer),
    )
