"""Rule probe_refits."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.stability.probe import Probes, probe_refits
from headwise.runtime.devices import own_devices
from headwise.runtime.logs import logged
from headwise.study.reading import Reading
from headwise.study.stability import Stability

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]), own_devices(snakemake.resources.gpu):
    settings, output = snakemake.params.settings, snakemake.output
    tables = ("beginnings", "residual", "importance", "losses", "norms", "outputs")
    probe_refits(
        [
            Reading.of(Path(path), reading)
            for path, reading in zip(snakemake.input.checkpoints, settings["refits"], strict=True)
        ],
        Path(snakemake.input.prompts),
        next((Path(path) for path in snakemake.input.documents), None),
        Probes(*(Path(output[table]) for table in tables), random=[Path(path) for path in output.random]),
        Stability(**settings["stability"]),
        settings["metadata"],
    )
