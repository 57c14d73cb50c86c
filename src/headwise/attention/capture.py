"""Streaming capture of attention: weights go to a callback while the model runs, one layer at a time.

Weights and outputs are bit-identical to those of the model under eager attention. Most architectures of transformers
call attention by name through an interface, where a function of ours stands in for it (`interface`); the attention
modules of the others return their weights, which a forward hook takes (`hooks`). Either way no more than one layer's
weights are alive at any moment.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, cast
from weakref import WeakSet

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from headwise.attention.hooks import computes_attention, taking_weights
from headwise.attention.interface import eager_attention, intercepting
from headwise.attention.tiles import row_tiles

Support = Literal["causal", "full"]

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
class LayerAttention:
    """The attention of one layer on one prompt of T tokens.

    layer: index of the layer in the model, as its own modules count (hybrid models have layers without attention).
    weights: float32 (heads, T, T), after softmax; rows are queries and sum to 1 (less in the few models that keep a
        share for no key at all). They are what the model multiplies values with: most models compute the softmax in
        float32 and round it to their own dtype, which is exact in float32 and rounded in bfloat16.
    head_outputs: (T, heads, head width) in the model's dtype, each head's output as the output projection reads it.
    output_projection: (heads, head width, hidden), a view of W_O, or a copy where weights are offloaded; None where it
        is no plain matrix.
    support: "causal" if nothing above the diagonal may be attended to, "full" for encoders.
    """

    layer: int
    weights: Tensor
    head_outputs: Tensor
    output_projection: Tensor | None
    support: Support

    def among(self, positions: Tensor) -> "LayerAttention":
        """The same layer with these positions alone as queries and keys: indices in ascending order.

        Its support is "full" where a query among them looks ahead, as pads on the left do in a causal model.
        """
        weights = self.weights[:, positions][:, :, positions]
        support: Support = "full" if _looks_ahead(weights) else self.support
        return replace(self, weights=weights, head_outputs=self.head_outputs[positions], support=support)


Receiver = Callable[[LayerAttention], None]


@dataclass(frozen=True)
class AttentionLayer:
    """An attention module of a model.

    index: its layer. projection: its output projection, where that is one module. uses_interface: whether it calls
        attention through the interface of transformers; else it computes attention itself and returns the weights.
    """

    index: int
    module: nn.Module
    projection: nn.Module | None
    uses_interface: bool


def attention_layers(model: PreTrainedModel) -> list[AttentionLayer]:
    """The attention layers of a model, by layer index.

    Raises CaptureError for a model without attention that could be captured: without attention at all (Mamba), with
    an attention module whose output projection lies outside of it and without the interface of transformers (BigBird,
    Reformer), loaded with flash attention outside that interface, or with several attention modules per layer.
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
        layers[index] = AttentionLayer(index, module, projection, uses_interface)
    if not layers:
        raise CaptureError(
            f"model type '{kind}' has no attention that can be captured: none of its modules calls the attention "
            "interface of transformers, and none computes attention and projects it itself: choose a checkpoint of "
            "another architecture."
        )
    return [layers[index] for index in sorted(layers)]


@contextmanager
def capturing(model: PreTrainedModel, receive: Receiver, *, padded: bool = False) -> Iterator[list[AttentionLayer]]:
    """Within the block, each forward pass of `model` hands the attention of its layers to `receive`.

    Batch size 1, a whole prompt at once, without a cache, and without padding unless `padded` is true. Then the
    keyword `attention_mask` (1, T) of a forward pass says which tokens are real, and `receive` gets the attention of
    all T positions: queries at pads may look anywhere (on the left they have no key and look everywhere alike), and
    `support` is that of the real tokens.

    The tensors given to `receive` are meant for the duration of the call: keeping them keeps a layer alive. Yields the
    attention layers. The model's attention implementation is as before once the block ends.

    Raises CaptureError for a model that `attention_layers` refuses, and in a forward pass that is padded unasked or
    does not deliver each layer exactly once.
    """
    kind = model.config.model_type
    layers = attention_layers(model)
    modules = [layer.module for layer in layers]
    if any(module in _CAPTURED for module in modules):
        raise CaptureError(f"model type '{kind}' is being captured already: end that capture first.")
    capture = _Capture(kind, layers, receive, padded)
    with ExitStack() as undo:
        for layer in layers:
            _CAPTURED.add(layer.module)
            undo.callback(_CAPTURED.discard, layer.module)
            if layer.projection is not None:
                hook = functools.partial(capture.projected, layer)
                undo.callback(layer.projection.register_forward_pre_hook(hook).remove)
        undo.callback(model.register_forward_pre_hook(capture.begin, with_kwargs=True).remove)
        undo.callback(model.register_forward_hook(capture.finish).remove)
        if layers[0].uses_interface:
            undo.enter_context(intercepting(model, modules, capture.attended))
        else:
            undo.enter_context(taking_weights(model, modules, capture.returned))
        yield layers


# Modules that are being captured.
_CAPTURED: WeakSet[nn.Module] = WeakSet()


class _Capture:
    """One forward pass: the layers that were delivered, and the halves of a layer whose other half is still to come.

    Through the interface a layer's weights come first and its output projection reads after that; where a module
    returns its weights, it has projected before.
    """

    def __init__(self, kind: str, layers: list[AttentionLayer], receive: Receiver, padded: bool) -> None:
        self.kind = kind
        self.layers = {layer.module: layer for layer in layers}
        self.receive = receive
        self.padded = padded
        self.real: Tensor | None = None  # positions of the real tokens of a padded prompt
        self.delivered: set[int] = set()
        self.weights: tuple[AttentionLayer, Tensor, Support] | None = None
        self.outputs: tuple[AttentionLayer, Tensor] | None = None

    def begin(self, model: nn.Module, inputs: Any, options: dict[str, Any]) -> None:
        self.delivered.clear()
        self.weights = self.outputs = None
        mask = options.get("attention_mask")
        # Masks of more dimensions are a caller's own, and say nothing about padding.
        padded = mask is not None and mask.ndim == 2 and bool((mask == 0).any())
        self.real = cast(Tensor, mask)[0].nonzero()[:, 0] if padded else None
        if padded and not self.padded:
            raise self._error("the prompt is padded: give it without padding, or capture with padded=True.")

    def attended(self, module: nn.Module, output: Tensor, weights: Tensor, declared_causal: bool) -> None:
        """Take the heads' outputs (1, T, heads, head width) and weights (1, heads, T, T) from the interface."""
        layer = self.layers[module]
        self._expect(layer, weights)
        weights = weights[0].detach().float()
        support = self._support(layer, weights, declared_causal)
        if layer.projection is None:
            self._deliver(LayerAttention(layer.index, weights, output[0].detach(), None, support))
        else:
            self.weights = layer, weights, support

    def projected(self, layer: AttentionLayer, projection: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Take what the output projection reads: the heads' outputs, after the gates of some models."""
        outputs = inputs[0].detach()
        if not layer.uses_interface:
            self.outputs = layer, outputs
        elif self.weights is not None and self.weights[0] is layer:  # else called outside the model's forward pass
            _, weights, support = self.weights
            self.weights = None
            self._join(layer, weights, outputs, support)

    def returned(self, module: nn.Module, weights: Tensor | None) -> None:
        """Take the weights (1, heads, T, T) that a module returns, which has projected its heads' outputs."""
        layer = self.layers[module]
        if weights is None:
            raise self._error(
                f"layer {layer.index}: {type(module).__name__} returns no attention weights: choose a checkpoint of "
                "another architecture."
            )
        if self.outputs is None or self.outputs[0] is not layer:
            raise self._error(
                f"layer {layer.index}: {type(module).__name__} does not call its output projection as a module (BLOOM: "
                "set slow_but_exact to false in config.json), so what its heads write is not seen."
            )
        self._expect(layer, weights)
        outputs, self.outputs = self.outputs[1], None
        weights = weights[0].detach().float()
        causal = bool(getattr(module, "is_causal", True))
        self._join(layer, weights, outputs, self._support(layer, weights, causal))

    def finish(self, *_: Any) -> None:
        if missing := sorted({layer.index for layer in self.layers.values()} - self.delivered):
            raise self._error(
                f"no attention arrived from layers {', '.join(map(str, missing))} of {len(self.layers)}: "
                "choose a checkpoint of another architecture."
            )

    def _expect(self, layer: AttentionLayer, weights: Tensor) -> None:
        """One prompt, each layer once."""
        if weights.shape[0] != 1 or weights.shape[-2] != weights.shape[-1]:
            raise self._error(
                f"layer {layer.index}: attention weights of shape {tuple(weights.shape)}: "
                "give it one whole prompt at a time, without a cache."
            )
        if layer.index in self.delivered or self.weights is not None:
            raise self._error(
                f"layer {layer.index}: attention is computed several times in one forward pass, so its heads "
                "have no single pattern: choose a checkpoint of another architecture."
            )

    def _support(self, layer: AttentionLayer, weights: Tensor, declared_causal: bool) -> Support:
        """Measured on the weights: a mask that is lost on the way makes a model silently non-causal."""
        if self.real is not None:
            weights = weights[:, self.real][:, :, self.real]
        if weights.shape[-1] == 1:
            return "causal" if declared_causal else "full"
        looks_ahead = _looks_ahead(weights)
        if looks_ahead and declared_causal:
            raise self._error(
                f"layer {layer.index}: causal attention looks at future tokens, its mask was lost: use "
                "another version of transformers, or a checkpoint of another architecture."
            )
        return "full" if looks_ahead else "causal"

    def _join(self, layer: AttentionLayer, weights: Tensor, outputs: Tensor, support: Support) -> None:
        """Deliver a layer whose heads' outputs came as (1, T, heads × head width)."""
        heads, tokens, _ = weights.shape
        outputs = outputs.reshape(tokens, heads, -1)
        projection = None if layer.projection is None else _per_head(layer.projection, heads, outputs.device)
        self._deliver(LayerAttention(layer.index, weights, outputs, projection, support))

    def _deliver(self, attention: LayerAttention) -> None:
        self.delivered.add(attention.layer)
        self.receive(attention)

    def _error(self, problem: str) -> CaptureError:
        return CaptureError(f"model type '{self.kind}': {problem}")


def _looks_ahead(weights: Tensor) -> bool:
    """Whether any query attends to a later key."""
    return any(bool((rows.triu(first + 1) > 0).any()) for first, rows in row_tiles(weights))


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


def _per_head(projection: Any, heads: int, device: torch.device) -> Tensor | None:
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
