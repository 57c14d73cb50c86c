"""Rule measure_variants."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.analyses.variants.measure import measure_variants
from headwise.runtime.devices import own_devices
from headwise.runtime.logs import logged
from headwise.runtime.provenance import read_json
from headwise.study.extraction import Extraction
from headwise.study.models import Loading
from headwise.study.specialization import Specialization
from headwise.study.variants import Variants

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]), own_devices(snakemake.resources.gpu):
    settings = snakemake.params.settings
    measure_variants(
        Path(snakemake.input.checkpoint),
        Path(snakemake.input.prompts),
        Path(snakemake.output.variants),
        settings=Variants(**settings["variants"]),
        extraction=Extraction(**settings["extraction"]),
        loading=Loading(**settings["loading"]),
        specialization=Specialization(**settings["specialization"]),
        metadata={**settings["metadata"], "prompts_digest": read_json(snakemake.input.facts)["sha256"]},
    )
