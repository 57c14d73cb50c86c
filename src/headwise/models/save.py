"""Write a checkpoint folder: model, tokenizer and the facts about both, all or nothing."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from headwise.models.architecture import architecture_facts
from headwise.models.checkpoint import weights_digest
from headwise.models.files import tokenizer_files
from headwise.models.tokenizer import tokenizer_digest
from headwise.runtime.atomic import atomic
from headwise.runtime.json_files import write_json
from headwise.runtime.progress import no_bars_in_logs
from headwise.runtime.provenance import file_digest


def save_checkpoint(
    model: PreTrainedModel,
    tokenizer_folder: Path,
    documents: Path,
    checkpoint: Path,
    metadata: Mapping[str, Any],
    facts: Mapping[str, Any],
    stages: Mapping[int, PreTrainedModel] | None = None,
) -> dict[str, str]:
    """Write config.json, model.safetensors, the tokenizer's files and facts.json; return the digests in the facts.

    facts.json holds `model` (the metadata), `architecture`, the sections of `facts`, and the digests of
    corpus, tokenizer and weights. `stages` are the model after so many steps of its training: each becomes a folder
    `stepN` of the checkpoint, with facts about itself. The folder appears under its name when it is complete.
    """
    everything = {"model": dict(metadata), "architecture": architecture_facts(model.config)}
    corpus = {"corpus_digest": file_digest(documents)}
    with atomic(checkpoint) as temporary:
        digests = corpus | _write(model, tokenizer_folder, temporary)
        write_json({**everything, **facts, **digests}, temporary / "facts.json")
        for step, stage in (stages or {}).items():
            folder = temporary / f"step{step}"
            write_json(
                {**everything, "step": step, **corpus, **_write(stage, tokenizer_folder, folder)}, folder / "facts.json"
            )
    return digests


def _write(model: PreTrainedModel, tokenizer_folder: Path, folder: Path) -> dict[str, str]:
    """Write a model and its tokenizer into a folder; their digests."""
    with no_bars_in_logs():
        model.save_pretrained(folder)
    for path in tokenizer_files(tokenizer_folder):
        shutil.copyfile(path, folder / path.name)
    return {"tokenizer_digest": tokenizer_digest(folder), "weights_digest": weights_digest(folder)}
