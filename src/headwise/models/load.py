"""Checkpoints in memory: safetensors weights, and code that they bring only where a study allows it for that model."""

import importlib.util
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from headwise.models.architecture import ArchitectureError, language_model_class
from headwise.models.checkpoint import checkpoint_folder
from headwise.models.checks import check_checkpoint, verify_architecture
from headwise.models.configuration import errors_named, read_config
from headwise.models.files import CONFIG
from headwise.models.headers import CheckpointError, read_object
from headwise.models.loaded import verify_loaded
from headwise.models.quantizations import UNQUANTIZED
from headwise.models.tokenizer import read_tokenizer
from headwise.runtime.progress import no_bars_in_logs
from headwise.study.models import Loading

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_checkpoint(
    checkpoint: str | Path,
    dtype: str = "float32",
    device: str = "cpu",
    loading: Loading | None = None,
    memory: dict[int | str, str] | None = None,
    head: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The language model of a checkpoint, in evaluation mode, and its tokenizer. Of an encoder such as BERT it is the
    masked language model.

    checkpoint: a folder in the layout of transformers, or what `fetch_model` wrote about one. dtype: float32, bfloat16
    or float16. device: a device of torch, or "auto": a GPU where there is one. loading: quantization, placement on
    several devices, and whether code that the checkpoint brings may run; by default none of them. memory: how much of
    each device may hold weights that are spread, as accelerate takes it; by default all that is free. What has no room
    on any device lies in a temporary folder that is deleted with the model. head: whether predictions are wanted, for
    losses and generation; where they are not, a checkpoint may lack the language-model head, and
    `model.headwise_random` names the tensors of it that are random numbers.

    Raises CheckpointError as `check_checkpoint` does, for an architecture that transformers has not or that is no
    language model of one stack, for a quantization that is not possible here, and where weights and configuration do
    not fit together, tensor by tensor.
    """
    loading = loading or Loading()
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype '{dtype}': choose from {', '.join(DTYPES)}")
    folder, family, options = _checked(checkpoint, loading)
    options |= {"dtype": DTYPES[dtype], **_quantized(loading, DTYPES[dtype], folder)}
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = read_tokenizer(folder, loading.trust_remote_code)
    if loading.device_map is not None:
        model = _spread(family, folder, options, memory)
    elif loading.quantization is not None:
        model = _loaded(family, folder, options | {"device_map": {"": device}})
    else:
        model = _loaded(family, folder, options).to(device)
    model.eval()
    _verify_head(model, folder, head)
    _verify_kinds_of_layers(model, folder)
    return model, tokenizer


def verify_loading(checkpoint: str | Path, loading: Loading | None = None, head: bool = False) -> None:
    """Refuse what `load_checkpoint` would refuse, before anything is measured: names and shapes of all weights are
    compared with those of the model, and no weight is read.

    That needs accelerate, and cannot be done for weights that are quantized; else only files are checked here, as
    `check_checkpoint` does. Raises CheckpointError as `load_checkpoint` does.
    """
    folder, family, options = _checked(checkpoint, loading or Loading())
    if importlib.util.find_spec("accelerate") and getattr(options["config"], "quantization_config", None) is None:
        _verify_head(_loaded(family, folder, options | {"device_map": {"": "meta"}}), folder, head)


def _checked(checkpoint: str | Path, loading: Loading) -> tuple[Path, Any, dict[str, Any]]:
    """The folder of a checkpoint that was found whole, what loads it, and with which options."""
    folder, own_code = checkpoint_folder(checkpoint), loading.trust_remote_code
    check_checkpoint(folder, own_code)
    verify_architecture(folder / CONFIG, own_code)
    config = read_config(folder, own_code)
    options = {"config": config, "local_files_only": True, "trust_remote_code": own_code, "use_safetensors": True}
    return folder, _model_class(config, folder, own_code), options


def _loaded(family: Any, folder: Path, options: dict[str, Any]) -> Any:
    """The model, of which `headwise_random` names the tensors of the head that are in no file."""
    with no_bars_in_logs(), _without_reports(), errors_named(folder, _remedy(options["config"])):
        # Sizes that differ are reported as well then, by name, where transformers would only raise.
        model, report = family.from_pretrained(
            folder, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
        model.headwise_random = verify_loaded(model, report, folder)
    return model


def _remedy(config: PreTrainedConfig) -> str:
    own = getattr(config, "quantization_config", None)
    if own is None:
        return "save the model again with `save_pretrained`, or choose another checkpoint"
    method = own.get("quant_method") if isinstance(own, dict) else own
    return (
        f"quantization_config.quant_method is '{method}', so run it where its library and a GPU are, or {UNQUANTIZED}"
    )


def _verify_head(model: Any, folder: Path, wanted: bool) -> None:
    if wanted and model.headwise_random:
        raise CheckpointError(
            f"{folder}: '{model.headwise_random[0]}' is in no file of weights, and without a language-model head "
            "nothing can be predicted: choose a checkpoint that has one, or leave out what needs losses or text"
        )


def _verify_kinds_of_layers(model: Any, folder: Path) -> None:
    """A kind of layer that an architecture lacks, or a field that a kind needs, shows when tokens are read."""
    if getattr(model.config.get_text_config(decoder=True), "layer_types", None) is None:
        return
    tokens = torch.zeros(1, 2, dtype=torch.long, device=input_device(model))
    with errors_named(folder / CONFIG, "correct layer_types, and what its kinds need"), torch.inference_mode():
        model.base_model(input_ids=tokens, use_cache=False)


@contextmanager
def _without_reports() -> Iterator[None]:
    """Within the block, transformers prints no table of the tensors that it misses: we read what it reports."""
    logger = logging.getLogger("transformers.modeling_utils")

    def is_no_report(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger.addFilter(is_no_report)
    try:
        yield
    finally:
        logger.removeFilter(is_no_report)


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
    if read_object(folder / CONFIG).get("quantization_config") is not None:
        raise CheckpointError(
            f"{folder}/config.json: quantization_config says that the weights are quantized already: leave "
            "`quantization` out"
        )
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


def _spread(family: Any, folder: Path, options: dict[str, Any], memory: dict[int | str, str] | None) -> Any:
    """A model over all GPUs, then memory, then disk."""
    if importlib.util.find_spec("accelerate") is None:
        raise CheckpointError(
            f"{folder}: device_map auto needs accelerate: pip install 'headwise[accelerate]', or leave `device_map` out"
        )
    # Snakemake and clusters say with TMPDIR where a job may put large files.
    offload = tempfile.TemporaryDirectory(prefix="headwise-offload-", dir=os.environ.get("TMPDIR"))
    spread = {"device_map": "auto", "offload_folder": offload.name, "max_memory": memory}
    model = _loaded(family, folder, options | spread)
    # The folder lives as long as the model: it is deleted when the model is, at the latest when the process ends.
    model.headwise_offload = offload
    return model
