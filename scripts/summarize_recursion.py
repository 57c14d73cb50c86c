"""Rule summarize_recursion."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.recursion.summarize import summarize_recursion
from headwise.runtime.logs import logged
from headwise.study.comparison import Comparison
from headwise.study.robustness import Recursion

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    summarize_recursion(
        [Path(path) for path in snakemake.input.generations],
        [Path(path) for path in snakemake.input.specialization],
        Recursion(**snakemake.params.settings["recursion"]),
        Comparison(**snakemake.params.settings["comparison"]),
        {name: Path(path) for name, path in snakemake.output.items()},
    )
