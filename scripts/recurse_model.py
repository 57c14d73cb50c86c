"""Rule recurse_model."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.recursion.chain import recurse
from headwise.runtime.devices import own_devices
from headwise.runtime.logs import logged
from headwise.runtime.provenance import read_json
from headwise.study.extraction import Extraction
from headwise.study.models import Loading
from headwise.study.robustness import Arm, Recursion

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]), own_devices(snakemake.resources.gpu):
    settings = snakemake.params.settings
    recurse(
        Path(snakemake.input.checkpoint),
        Path(snakemake.input.prompts),
        Arm(**settings["arm"]),
        Recursion(**settings["recursion"]),
        Extraction(**settings["extraction"]),
        Loading(**settings["loading"]),
        settings["estimators"],
        seed=int(snakemake.wildcards.seed),
        state=Path(settings["state"]),
        generations=Path(snakemake.output.generations),
        specialization_out=Path(snakemake.output.specialization),
        metadata={**settings["metadata"], "prompts_digest": read_json(snakemake.input.facts)["sha256"]},
    )
