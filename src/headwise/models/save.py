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
) -> dict[str, str]:
    """Write config.json, model.safetensors, the tokenizer's files and facts.json; return the digests in the facts.

    facts.json holds `model` (the metadata), `architecture`, the sections of `facts`, and the digests of
    corpus, tokenizer and weights. The folder appears under its name when it is complete.
    """
    with atomic(checkpoint) as temporary:
        with no_bars_in_logs():
            model.save_pretrained(temporary)
        for path in tokenizer_files(tokenizer_folder):
            shutil.copyfile(path, temporary / path.name)
        digests = {
            "corpus_digest": file_digest(documents),
            "tokenizer_digest": tokenizer_digest(temporary),
            "weights_digest": weights_digest(temporary),
        }
        everything = {
            "model": dict(metadata),
            "architecture": architecture_facts(model.config),
            **facts,
            **digests,
        }
        write_json(everything, temporary / "facts.json")
    return digests
