"""Checkpoints on disk, from local files alone: safetensors weights, and none of the code that they bring."""

from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from headwise.models.architecture import ArchitectureError, language_model_class
from headwise.provenance import read_json

INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json")
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class CheckpointError(ValueError):
    """A checkpoint that cannot or must not be read; the message names folder and file and says what to do."""


def load_checkpoint(
    folder: str | Path, dtype: str = "float32", device: str = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The language model of a folder in the layout of transformers, in evaluation mode, and its tokenizer. Of an
    encoder such as BERT it is the masked language model.

    `dtype` is float32, bfloat16 or float16; `device` a device of torch, or "auto": a GPU where there is one.

    Raises CheckpointError where a file is missing, where weights are pickled (reading a pickle runs whatever
    code its author put there), where the model needs code of its own, or where it is no language model of one stack.
    """
    folder = Path(folder)
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype '{dtype}': choose from {', '.join(DTYPES)}")
    _verify(folder)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(folder, **local)
    try:
        family: Any = language_model_class(AutoConfig.from_pretrained(folder, **local))
    except ArchitectureError as error:
        raise CheckpointError(f"{folder}/config.json: {error}") from None
    model = family.from_pretrained(folder, dtype=DTYPES[dtype], use_safetensors=True, **local)
    return model.to(device).eval(), tokenizer


def _verify(folder: Path) -> None:
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: there is no such checkpoint folder: check the path")
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: config.json is missing: save the model with `save_pretrained`")
    model_type = read_json(folder / "config.json").get("model_type")
    if model_type not in CONFIG_MAPPING:
        raise CheckpointError(
            f"{folder}/config.json: transformers has no architecture '{model_type}', and code that a checkpoint "
            "brings is never run: use a newer transformers, or another checkpoint"
        )
    files = _weight_files(folder)
    if (folder / INDEX).is_file():
        named = set(read_json(folder / INDEX)["weight_map"].values())
        if missing := sorted(named - {path.name for path in files}):
            raise CheckpointError(f"{folder}: {', '.join(missing)} named by {INDEX} is missing: copy or fetch it again")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise CheckpointError(f"{folder}: tokenizer.json is missing: save the tokenizer beside the model")


def _weight_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.safetensors"))
    if files:
        return files
    if pickled := sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED):
        raise CheckpointError(
            f"{folder}: the weights are pickled ({pickled[0]}), and reading a pickle can run any code: "
            "convert them to model.safetensors, with `model.save_pretrained(folder)` where you trust the file"
        )
    raise CheckpointError(f"{folder}: model.safetensors is missing: save the model with `save_pretrained`")
