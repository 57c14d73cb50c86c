"""Rule extract_attention."""

from pathlib import Path
from typing import TYPE_CHECKING

from headwise.attention.extract import extract_attention
from headwise.runtime.devices import own_devices
from headwise.runtime.logs import logged
from headwise.runtime.provenance import read_json
from headwise.study.extraction import Extraction
from headwise.study.models import Loading

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]), own_devices(snakemake.resources.gpu):
    tensors = snakemake.output.get("tensors")
    extract_attention(
        Path(snakemake.input.checkpoint),
        Path(snakemake.input.prompts),
        tensors=Path(tensors) if tensors else None,
        heads=Path(snakemake.output.heads),
        pairs=Path(snakemake.output.pairs),
        descriptors=Path(snakemake.output.descriptors),
        settings=Extraction(**snakemake.params.settings["extraction"]),
        loading=Loading(**snakemake.params.settings["loading"]),
        pair_statistics=snakemake.params.settings["pair_statistics"],
        seed=int(snakemake.wildcards.seed),
        metadata={
            **snakemake.params.settings["metadata"],
            "prompts_digest": read_json(snakemake.input.facts)["sha256"],
        },
    )
