"""The attention modules of a model, by layer."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from headwise.attention.hooks import computes_attention
from headwise.attention.interface import eager_attention
from headwise.models.architecture import declared_attention_layers, is_encoder

# What the attention modules of transformers call their output projection W_O.
OUTPUT_PROJECTIONS = (
    "o_proj",
    "out_proj",
    "c_proj",
    "dense",
    "Wo",
    "out_lin",
    "o",
    "proj",
    "projection",
    "projection_layer",
    "linear_out",
    "output_projection",
    "output",
)


class CaptureError(ValueError):
    """Attention that cannot be captured; the message names the model type, the layers and a remedy."""


@dataclass(frozen=True)
class AttentionLayer:
    """An attention module of a model.

    index: its layer. projection: its output projection, where that is one module. uses_interface: whether it calls
        attention through the interface of transformers; else it computes attention itself and returns the weights.
    causal: whether it is declared causal: by itself, else by not being an encoder's.
    """

    index: int
    module: nn.Module
    projection: nn.Module | None
    uses_interface: bool
    causal: bool


def attention_layers(model: PreTrainedModel) -> list[AttentionLayer]:
    """The attention layers of a model, by layer index.

    Raises CaptureError for a model without attention that could be captured: without attention at all (Mamba), with
    an attention module whose output projection lies outside of it and without the interface of transformers (BigBird,
    Reformer), loaded with flash attention outside that interface, with several attention modules per layer,
    or with fewer than its configuration has attention layers.
    """
    kind = model.config.model_type
    classes = {type(module) for module in model.modules()}
    interface_classes = {module_class for module_class in classes if eager_attention(module_class)}  # type: ignore[arg-type]  # a class hashes
    modules = [(path, module) for path, module in model.named_modules() if type(module) in interface_classes]
    uses_interface = bool(modules)
    if not uses_interface:
        if "flash" in (model.config._attn_implementation or ""):
            raise CaptureError(
                f"model type '{kind}' was loaded with flash attention, which has no weights and which this "
                'architecture cannot change afterwards: load it with attn_implementation="eager".'
            )
        modules = [
            (path, module)
            for path, module in model.named_modules()
            if computes_attention(module) and _projection_within(module) is not None
        ]
    layers: dict[int, AttentionLayer] = {}
    for path, module in modules:
        index = _layer_index(path, module)
        if index in layers:
            raise CaptureError(
                f"model type '{kind}' has several attention modules in layer {index} (an encoder and a "
                "decoder, or cross-attention): choose a checkpoint with one stack of self-attention layers."
            )
        projection = _projection_within(module) or _projection_beside(model, path)
        causal = bool(getattr(module, "is_causal", not is_encoder(model.config)))
        layers[index] = AttentionLayer(index, module, projection, uses_interface, causal)
    if not layers:
        raise CaptureError(
            f"model type '{kind}' has no attention that can be captured: none of its modules calls the attention "
            "interface of transformers, and none computes attention and projects it itself: choose a checkpoint of "
            "another architecture."
        )
    declared = declared_attention_layers(model.config)
    if declared is not None and len(layers) < len(declared):
        raise CaptureError(
            f"model type '{kind}': by its configuration {len(declared)} layers have attention, and {len(layers)} "
            "modules can be captured, each of which has to be one layer's: choose a checkpoint of another architecture."
        )
    return [layers[index] for index in sorted(layers)]


def per_head(projection: Any, heads: int, device: torch.device) -> Tensor | None:
    """W_O as (heads, head width, hidden); None for one that is no plain matrix, such as a quantized one."""
    weight = projection.weight
    if isinstance(weight, Tensor) and weight.is_meta:
        # Offloaded by accelerate, which brings weights in for the module's own forward pass alone.
        weight = projection._hf_hook.weights_map["weight"]
    # One byte per value: an 8-bit float, which means nothing without its scale.
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.element_size() == 1:
        return None
    matrix = weight.detach() if isinstance(projection, Conv1D) else weight.detach().T
    return matrix.to(device).view(heads, -1, matrix.shape[1])


def _layer_index(path: str, module: nn.Module) -> int:
    """The module's own count, else the first number in its path (`encoder.layer.3.attention`), else 0."""
    index = getattr(module, "layer_idx", None)
    if isinstance(index, int):
        return index
    numbers = [int(part) for part in path.split(".") if part.isdecimal()]
    return numbers[0] if numbers else 0


def _projection_within(module: nn.Module) -> nn.Module | None:
    """W_O as a child of an attention module."""
    children = (getattr(module, name, None) for name in OUTPUT_PROJECTIONS)
    return next((child for child in children if isinstance(child, nn.Linear | Conv1D)), None)


def _projection_beside(model: nn.Module, path: str) -> nn.Module | None:
    """W_O in `output.dense` beside an attention module (BERT and its kin)."""
    parent = model.get_submodule(path.rpartition(".")[0])
    projection = getattr(getattr(parent, "output", None), "dense", None)
    return projection if isinstance(projection, nn.Linear | Conv1D) else None
