"""Rule perturb_model."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.noise.experiment import Outputs, Settings, perturb_refit
from headwise.runtime.devices import own_devices
from headwise.runtime.logs import logged
from headwise.runtime.provenance import read_json
from headwise.study.reading import Reading

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]), own_devices(snakemake.resources.gpu):
    settings = snakemake.params.settings
    aligned = [Path(path) for path in snakemake.input.get("aligned", [])]
    perturb_refit(
        Reading.of(Path(snakemake.input.checkpoint), settings["base"]),
        [Reading.of(path, reading) for path, reading in zip(aligned, settings["aligned"], strict=True)],
        documents=Path(snakemake.input.documents),
        prompts=Path(snakemake.input.prompts),
        settings=Settings.of(settings),
        seed=int(snakemake.wildcards.seed),
        outputs=Outputs(**{name: Path(path) for name, path in snakemake.output.items()}),
        metadata={**settings["metadata"], "prompts_digest": read_json(snakemake.input.facts)["sha256"]},
    )
