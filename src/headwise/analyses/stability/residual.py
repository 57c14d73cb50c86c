"""The residual stream of a model at every layer: what attention reads, and what it leaves.

The published comparison (Bali et al. 2026) reads it before attention alone.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from headwise.analyses.stability.names import AFTER, BEFORE, TakenFrom
from headwise.attention.capture import AttentionLayer, attention_layers
from headwise.study.prompts import EncodedPrompt

Streams = dict[tuple[int, TakenFrom], Tensor]


@contextmanager
def residual_streams(model: PreTrainedModel) -> Iterator[Streams]:
    """Within the block, each forward pass of one prompt of T tokens fills a dictionary with the residual stream.

    Keys are layer index and site: float64 (T, hidden), on the CPU. BEFORE is what enters the layer; AFTER adds what its
    attention module returns. Where an outer module adds and normalises that itself, as in BERT, AFTER is what the outer
    module returns.

    The mean over hidden units is subtracted from every token where the model has LayerNorm: nothing in such a model
    reads it, and TransformerLens, which the published code loads models with, removes it from the weights.
    """
    streams: Streams = {}
    centre = has_layer_norm(model)
    with ExitStack() as undo:
        for attention in attention_layers(model):
            block, outer, adds = surroundings(model, attention)
            reader = _Reader(streams, attention.index, adds, centre)
            undo.callback(block.register_forward_pre_hook(reader.enter, with_kwargs=True).remove)
            undo.callback(outer.register_forward_hook(reader.leave).remove)
        yield streams


def has_layer_norm(model: PreTrainedModel) -> bool:
    """Whether a model's norms subtract the mean over hidden units, so that nothing reads it."""
    return any(isinstance(module, nn.LayerNorm) for module in model.modules())


class _Reader:
    """Reads the residual stream around one layer's attention."""

    def __init__(self, streams: Streams, layer: int, adds: bool, centre: bool) -> None:
        self.streams, self.layer, self.adds, self.centre = streams, layer, adds, centre
        self.entered: Tensor | None = None

    def enter(self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.entered = args[0] if args else options["hidden_states"]
        self._keep(BEFORE, self.entered)

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        assert self.entered is not None, "a layer begins before its attention ends"
        written = output[0] if isinstance(output, tuple | list) else output
        self._keep(AFTER, self.entered + written if self.adds else written)

    def _keep(self, site: TakenFrom, stream: Tensor) -> None:
        stream = stream[0].detach().double().cpu()
        self.streams[self.layer, site] = stream - stream.mean(-1, keepdim=True) if self.centre else stream


def surroundings(model: PreTrainedModel, attention: AttentionLayer) -> tuple[nn.Module, nn.Module, bool]:
    """The layer around an attention module, the outermost module in it that holds the attention, and whether what that
    returns is still to be added to the residual stream."""
    path = next(path for path, module in model.named_modules() if module is attention.module)
    parts = path.split(".")
    number = next(place for place, part in enumerate(parts) if part.isdecimal())
    block = model.get_submodule(".".join(parts[: number + 1]))
    outer = model.get_submodule(".".join(parts[: number + 2]))
    inside = set(attention.module.modules())
    norms = [name for name, module in outer.named_modules() if module not in inside and "norm" in name.lower()]
    return block, outer, not norms


def read_prompt(model: PreTrainedModel, prompt: EncodedPrompt) -> None:
    """One forward pass of a model over a prompt, for what is read within it."""
    model.base_model(input_ids=torch.tensor([prompt.token_ids], device=model.device), use_cache=False)
