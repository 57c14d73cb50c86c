"""Rule build_corpus."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.models.corpus import build_corpus
from headwise.runtime.logs import logged
from headwise.study.data import Corpus

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    build_corpus(
        Corpus(**snakemake.params.settings),
        documents=Path(snakemake.output.documents),
        facts=Path(snakemake.output.facts),
    )
