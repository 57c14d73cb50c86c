"""Rule compare_pair."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.specialization.compare import compare_pair
from headwise.runtime.logs import logged
from headwise.study.comparison import Comparison

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = snakemake.params.settings
    compare_pair(
        [Path(path) for path in snakemake.input.base],
        [Path(path) for path in snakemake.input.aligned],
        seeds=settings["seeds"],
        prompts=Path(snakemake.input.prompts),
        output=Path(snakemake.output.comparison),
        names={key: settings[key] for key in ("base", "aligned", "family", "method")},
        settings=Comparison(**settings["comparison"]),
    )
