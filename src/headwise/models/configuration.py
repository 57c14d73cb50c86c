"""config.json as transformers reads it, and errors of transformers as sentences about the checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig

from headwise.models.headers import CheckpointError

# Implementations of attention that need nothing but torch.
PLAIN = (None, "eager", "sdpa")


@contextmanager
def errors_named(place: Path, remedy: str) -> Iterator[None]:
    """Within the block, whatever a library raises about the checkpoint at `place` becomes a CheckpointError."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, CheckpointError):
        raise
    # transformers, safetensors, the libraries of quantization and a checkpoint's own code raise errors of any type.
    except Exception as error:
        # Some say nothing, and a KeyError says the key alone.
        said = " ".join(str(error).split())
        if not said or isinstance(error, KeyError):
            said = f"{type(error).__name__} {said}".strip()
        raise CheckpointError(f"{place}: transformers cannot read it ({said}): {remedy}") from error


def read_config(place: Path, own_code: bool = False) -> PreTrainedConfig:
    """The configuration in a folder or file. How attention is computed, how much at once, and what a model returns is
    our choice, whatever was in force where the configuration was saved.

    Raises CheckpointError for one that transformers refuses.
    """
    with errors_named(place / "config.json" if place.is_dir() else place, "correct the field that this speaks of"):
        config: Any = AutoConfig.from_pretrained(place, local_files_only=True, trust_remote_code=own_code)
        if config._attn_implementation not in PLAIN:
            config._attn_implementation = None
        config.output_attentions, config.output_hidden_states, config.return_dict = False, False, True
        config.chunk_size_feed_forward = 0
    return config
