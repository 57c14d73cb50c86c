"""Weights in few bits: which ways of quantization can be read here, as config.json and the files of weights have them.

Imported by the Snakefile, so nothing heavy is imported here.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwise.models.headers import FETCH_AGAIN, CheckpointError, Stored

# Methods of quantization that transformers loads, with the libraries that each needs.
QUANTIZATIONS: dict[str, tuple[str, ...]] = {
    "aqlm": ("aqlm", "accelerate"),
    "auto-round": ("auto_round",),
    "awq": ("gptqmodel", "accelerate"),
    "bitnet": ("accelerate",),
    "bitsandbytes": ("bitsandbytes", "accelerate"),
    "compressed-tensors": ("compressed_tensors",),
    "eetq": ("kernels", "accelerate"),
    "fbgemm_fp8": ("fbgemm_gpu", "accelerate"),
    "fouroversix": ("fouroversix",),
    "fp8": ("accelerate",),
    "fp_quant": ("fp_quant",),
    "gemma": (),
    "gptq": ("optimum", "gptqmodel"),
    "higgs": ("flute", "fast_hadamard_transform", "accelerate"),
    "hqq": ("hqq",),
    "metal": ("kernels",),
    "mxfp4": ("accelerate",),
    "mxfp8": ("accelerate",),
    "nvfp4": ("kernels",),
    "quanto": ("optimum", "accelerate"),
    "quark": ("quark",),
    "sinq": ("sinq",),
    "spqr": ("spqr_quant", "accelerate"),
    "torchao": ("torchao",),
    "vptq": ("vptq", "accelerate"),
}
UNQUANTIZED = "choose a checkpoint whose weights are not quantized"
# Files in which other tools keep how they quantized the weights beside them; transformers reads none of them.
FOREIGN_QUANTIZATIONS = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
# A weight of these dtypes means nothing without the scales that a quantization_config speaks of.
SCALED = ("F8_", "F6_", "F4", "I8", "U8", "I16", "U16", "I32", "U32")


def check_quantization(content: Mapping[str, Any], config: Path) -> None:
    """Refuse a config.json whose way of quantization cannot be followed here. Raises CheckpointError."""
    if "compression_config" in content or ("quantization" in content and "quantization_config" not in content):
        field = "compression_config" if "compression_config" in content else "quantization"
        raise CheckpointError(f"{config}: `{field}` is not what transformers reads: {UNQUANTIZED}")
    own = content.get("quantization_config")
    if own is None:
        foreign = [name for name in FOREIGN_QUANTIZATIONS if (config.parent / name).is_file()]
        if foreign:
            raise CheckpointError(
                f"{config.parent / foreign[0]}: says that the weights are quantized, and config.json has no "
                f"quantization_config, which alone is read: {UNQUANTIZED}"
            )
        return
    if not isinstance(own, dict):
        raise CheckpointError(f"{config}: quantization_config is no object: {FETCH_AGAIN}, or remove it")
    method = "bitsandbytes" if own.get("load_in_8bit") or own.get("load_in_4bit") else own.get("quant_method")
    if not isinstance(method, str) or method not in QUANTIZATIONS:
        raise CheckpointError(
            f"{config}: quantization_config.quant_method is {method!r}, which transformers does not know: {UNQUANTIZED}"
        )
    missing = [name for name in QUANTIZATIONS[method] if importlib.util.find_spec(name) is None]
    if missing:
        raise CheckpointError(
            f"{config}: quantization_config.quant_method is '{method}', which needs {' and '.join(missing)}, not "
            f"installed here: install it, or {UNQUANTIZED}"
        )


def check_dtypes(tensors: Mapping[str, Stored], content: Mapping[str, Any], config: Path) -> None:
    """Refuse weights in numbers that need scales where nothing says so; buffers may have any dtype."""
    if content.get("quantization_config") is not None:
        return
    for name, stored in tensors.items():
        if name.endswith(".weight") and stored.dtype.startswith(SCALED):
            raise CheckpointError(
                f"{stored.file}: '{name}' is quantized ({stored.dtype}), and {config.name} has no quantization_config "
                f"that says how: {UNQUANTIZED}"
            )
