"""Rule summarize_perturbations."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.noise.summarize import PerturbationFiles, PerturbationSettings, summarize_perturbations
from headwise.runtime.logs import logged
from headwise.study.comparison import Comparison
from headwise.study.robustness import Probe

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = dict(snakemake.params.settings)
    files = {name: paths for name, paths in snakemake.input.items() if name != "library"}
    summarize_perturbations(
        PerturbationFiles(**{name: [Path(path) for path in paths] for name, paths in files.items()}),
        PerturbationSettings(
            bases=settings["bases"],
            reference=settings["reference"],
            primary=settings["primary"],
            probe=Probe(**settings["probe"]) if settings["probe"] else None,
            comparison=Comparison(**settings["comparison"]),
        ),
        {name: Path(path) for name, path in snakemake.output.items()},
    )
