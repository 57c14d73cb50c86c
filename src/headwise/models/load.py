"""Checkpoints in memory: safetensors weights, and code that they bring only where a study allows it for that model."""

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from headwise.models.architecture import ArchitectureError, language_model_class
from headwise.models.checkpoint import checkpoint_folder, verify_architecture
from headwise.models.checks import check_checkpoint
from headwise.models.headers import CheckpointError
from headwise.progress import no_bars_in_logs
from headwise.study.models import Loading

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_checkpoint(
    checkpoint: str | Path,
    dtype: str = "float32",
    device: str = "cpu",
    loading: Loading | None = None,
    memory: dict[int | str, str] | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The language model of a checkpoint, in evaluation mode, and its tokenizer. Of an encoder such as BERT it is the
    masked language model.

    checkpoint: a folder in the layout of transformers, or what `fetch_model` wrote about one. dtype: float32, bfloat16
    or float16. device: a device of torch, or "auto": a GPU where there is one. loading: quantization, placement on
    several devices, and whether code that the checkpoint brings may run; by default none of them. memory: how much of
    each device may hold weights that are spread, as accelerate takes it; by default all that is free. What has no room
    on any device lies in a temporary folder that is deleted with the model.

    Raises CheckpointError where a file is missing, where weights are pickled (reading a pickle runs whatever code its
    author put there), where the model needs code of its own, where it is no language model of one stack, and for a
    quantization that is not possible here.
    """
    loading = loading or Loading()
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype '{dtype}': choose from {', '.join(DTYPES)}")
    folder = checkpoint_folder(checkpoint)
    check_checkpoint(folder, loading.trust_remote_code)
    verify_architecture(folder / "config.json", loading.trust_remote_code)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": loading.trust_remote_code}
    tokenizer = AutoTokenizer.from_pretrained(folder, **local)
    config = AutoConfig.from_pretrained(folder, **local)
    family: Any = _model_class(config, folder, loading.trust_remote_code)
    options = local | {"dtype": DTYPES[dtype], "use_safetensors": True, **_quantized(loading, DTYPES[dtype], folder)}
    with no_bars_in_logs():
        if loading.device_map is None and loading.quantization is None:
            model = family.from_pretrained(folder, **options).to(device)
        elif loading.device_map is None:
            model = family.from_pretrained(folder, device_map={"": device}, **options)
        else:
            model = _spread(family, folder, options, memory)
    return model.eval(), tokenizer


def input_device(model: PreTrainedModel) -> torch.device:
    """Where a model takes its token ids; weights that are spread are moved there as they are needed."""
    embedding: Any = model.get_input_embeddings()
    if embedding.weight.device.type != "meta":
        return embedding.weight.device
    hook = getattr(embedding, "_hf_hook", None)
    return torch.device(getattr(hook, "execution_device", None) or "cpu")


def _model_class(config: PreTrainedConfig, folder: Path, own_code: bool) -> Any:
    if own_code and "AutoModelForCausalLM" in getattr(config, "auto_map", {}):
        return AutoModelForCausalLM
    if own_code and "AutoModelForMaskedLM" in getattr(config, "auto_map", {}):
        return AutoModelForMaskedLM
    try:
        return language_model_class(config)
    except ArchitectureError as error:
        raise CheckpointError(f"{folder}/config.json: {error}") from None


def _quantized(loading: Loading, dtype: torch.dtype, folder: Path) -> dict[str, Any]:
    """Options for weights of 8 or 4 bits; none where weights keep their precision."""
    if loading.quantization is None:
        return {}
    if not all(map(importlib.util.find_spec, ("bitsandbytes", "accelerate"))):
        raise CheckpointError(
            f"{folder}: quantization {loading.quantization} needs bitsandbytes: pip install "
            "'headwise[quantization]', or leave `quantization` out"
        )
    if not torch.cuda.is_available():
        raise CheckpointError(
            f"{folder}: quantization {loading.quantization} needs a GPU that torch can use, and there is none: run it "
            "where there is one, or leave `quantization` out"
        )
    if loading.quantization == "8bit":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    # NF4 with double quantization, as Dettmers et al. (2023) have it.
    bits = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    return {"quantization_config": BitsAndBytesConfig(**bits, bnb_4bit_compute_dtype=dtype)}


def _spread(family: Any, folder: Path, options: dict[str, Any], memory: dict[int | str, str] | None) -> PreTrainedModel:
    """A model over all GPUs, then memory, then disk."""
    if importlib.util.find_spec("accelerate") is None:
        raise CheckpointError(
            f"{folder}: device_map auto needs accelerate: pip install 'headwise[accelerate]', or leave `device_map` out"
        )
    # Snakemake and clusters say with TMPDIR where a job may put large files.
    offload = tempfile.TemporaryDirectory(prefix="headwise-offload-", dir=os.environ.get("TMPDIR"))
    model = family.from_pretrained(folder, device_map="auto", offload_folder=offload.name, max_memory=memory, **options)
    # The folder lives as long as the model: it is deleted when the model is, at the latest when the process ends.
    model.headwise_offload = offload
    return model
