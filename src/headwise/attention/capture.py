"""Streaming capture of attention: weights go to a callback while the model runs, one layer at a time.

transformers lets a model call an attention function by name. The function registered here delegates to the
model's own eager attention, takes the weights and returns the output without them, so that no more than one
layer's weights are alive at any moment. Weights and outputs are bit-identical to those of the model under
eager attention.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask
from transformers.pytorch_utils import Conv1D

Support = Literal["causal", "full"]

# A name that contains "flash" would be taken for a kernel without masks.
ATTENTION_NAME = "headwise_exact"
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
    output_projection: (heads, head width, hidden), a view of W_O; None where it is no plain matrix.
    support: "causal" if nothing above the diagonal may be attended to, "full" for encoders.
    """

    layer: int
    weights: Tensor
    head_outputs: Tensor
    output_projection: Tensor | None
    support: Support


Receiver = Callable[[LayerAttention], None]


@dataclass(frozen=True)
class AttentionLayer:
    """An attention module of a model.

    index: its layer. eager: the eager attention function of its model. projection: its output projection,
        where that is one module.
    """

    index: int
    module: nn.Module
    eager: Callable[..., tuple[Tensor, Tensor]]
    projection: nn.Module | None


def attention_layers(model: PreTrainedModel) -> list[AttentionLayer]:
    """The attention layers of a model, by layer index.

    Raises CaptureError for a model whose attention does not go through the attention interface of
    transformers (GPT-Neo, GPT-J, Falcon, MPT, BLOOM, CodeGen, XGLM, and others), and for one with several
    attention modules per layer.
    """
    kind = model.config.model_type
    eager_functions = {type(module): _eager_attention(type(module)) for module in model.modules()}
    layers: dict[int, AttentionLayer] = {}
    for path, module in model.named_modules():
        eager = eager_functions[type(module)]
        if eager is None:
            continue
        index = _layer_index(path, module)
        if index in layers:
            raise CaptureError(
                f"model type '{kind}' has several attention modules in layer {index} (an encoder and a "
                "decoder, or cross-attention): choose a checkpoint with one stack of self-attention layers."
            )
        layers[index] = AttentionLayer(index, module, eager, _output_projection(model, path, module))
    if not layers:
        raise CaptureError(
            f"model type '{kind}' does not call its attention through the attention interface of "
            "transformers, so its weights cannot be captured: choose a checkpoint of another architecture."
        )
    return [layers[index] for index in sorted(layers)]


@contextmanager
def capturing(model: PreTrainedModel, receive: Receiver) -> Iterator[list[AttentionLayer]]:
    """Within the block, each forward pass of `model` hands the attention of its layers to `receive`.

    Batch size 1, a whole prompt at once, without padding and without a cache. The tensors given to `receive`
    are meant for the duration of the call: keeping them keeps a layer alive. Yields the attention layers. The
    model's attention implementation is as before once the block ends.

    Raises CaptureError for a model that `attention_layers` refuses, and in a forward pass that does not
    deliver each layer exactly once.
    """
    kind = model.config.model_type
    layers = attention_layers(model)
    if any(layer.module in _CAPTURES for layer in layers):
        raise CaptureError(f"model type '{kind}' is being captured already: end that capture first.")
    capture = _Capture(kind, layers, receive)
    before = _implementation(model)
    with ExitStack() as undo:
        for layer in layers:
            _CAPTURES[layer.module] = capture
            undo.callback(_CAPTURES.pop, layer.module)
            if layer.projection is not None:
                hook = functools.partial(capture.projected, layer)
                undo.callback(layer.projection.register_forward_pre_hook(hook).remove)
        undo.callback(model.register_forward_pre_hook(capture.begin).remove)
        undo.callback(model.register_forward_hook(capture.finish).remove)
        undo.callback(model.set_attn_implementation, before)
        model.set_attn_implementation(ATTENTION_NAME)
        yield layers


class _Capture:
    """One forward pass: the layers that were delivered, and the one that waits for its output projection."""

    def __init__(self, kind: str, layers: list[AttentionLayer], receive: Receiver) -> None:
        self.kind = kind
        self.layers = {layer.module: layer for layer in layers}
        self.receive = receive
        self.delivered: set[int] = set()
        self.waiting: tuple[AttentionLayer, Tensor, Support] | None = None

    def begin(self, *_: Any) -> None:
        self.delivered.clear()
        self.waiting = None

    def attended(self, layer: AttentionLayer, output: Tensor, weights: Tensor, declared_causal: bool) -> None:
        """Take weights (1, heads, T, T) and output (1, T, heads, head width) of a layer's attention."""
        if weights.shape[0] != 1 or weights.shape[-2] != weights.shape[-1]:
            raise self._error(
                f"layer {layer.index}: attention weights of shape {tuple(weights.shape)}: "
                "give it one whole prompt at a time, without padding and without a cache."
            )
        if layer.index in self.delivered or self.waiting is not None:
            raise self._error(
                f"layer {layer.index}: attention is computed several times in one forward pass, so its heads "
                "have no single pattern: choose a checkpoint of another architecture."
            )
        weights = weights[0].detach().float()
        support = self._support(layer, weights, declared_causal)
        if layer.projection is None:
            self._deliver(LayerAttention(layer.index, weights, output[0].detach(), None, support))
        else:
            self.waiting = layer, weights, support

    def projected(self, layer: AttentionLayer, projection: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Take what the output projection reads: the heads' outputs, after the gates of some models."""
        if self.waiting is None or self.waiting[0] is not layer:
            return  # called outside the model's forward pass
        _, weights, support = self.waiting
        self.waiting = None
        heads, tokens, _ = weights.shape
        outputs = inputs[0].detach().reshape(tokens, heads, -1)
        self._deliver(LayerAttention(layer.index, weights, outputs, _per_head(projection, heads), support))

    def finish(self, *_: Any) -> None:
        if missing := sorted({layer.index for layer in self.layers.values()} - self.delivered):
            raise self._error(
                f"no attention arrived from layers {', '.join(map(str, missing))} of {len(self.layers)}: "
                "choose a checkpoint of another architecture."
            )

    def _support(self, layer: AttentionLayer, weights: Tensor, declared_causal: bool) -> Support:
        """Measured on the weights: a mask that is lost on the way makes a model silently non-causal."""
        if weights.shape[-1] == 1:
            return "causal" if declared_causal else "full"
        looks_ahead = bool((weights.triu(1) > 0).any())
        if looks_ahead and declared_causal:
            raise self._error(
                f"layer {layer.index}: causal attention looks at future tokens, its mask was lost: use "
                "another version of transformers, or a checkpoint of another architecture."
            )
        return "full" if looks_ahead else "causal"

    def _deliver(self, attention: LayerAttention) -> None:
        self.delivered.add(attention.layer)
        self.receive(attention)

    def _error(self, problem: str) -> CaptureError:
        return CaptureError(f"model type '{self.kind}': {problem}")


# Which capture a module delivers to: the registered function is global, captures are not.
_CAPTURES: WeakKeyDictionary[nn.Module, _Capture] = WeakKeyDictionary()


def _attend(module: nn.Module, *inputs: Any, **options: Any) -> tuple[Tensor, None]:
    """The registered attention function: the module's own eager attention, with the weights taken out."""
    capture = _CAPTURES[module]
    layer = capture.layers[module]
    if getattr(module, "reorder_and_upcast_attn", False):
        # GPT-2's second eager path, which its module takes without the interface.
        output, weights = module._upcast_and_reordered_attn(*inputs)  # type: ignore[operator]
    else:
        output, weights = layer.eager(module, *inputs, **options)
    # The rule by which scaled_dot_product_attention decides.
    declared = options.get("is_causal")
    causal = getattr(module, "is_causal", True) if declared is None else declared
    capture.attended(layer, output, weights, bool(causal))
    return output, None


AttentionInterface.register(ATTENTION_NAME, _attend)
# Without a mask function under the same name a model gets no mask at all.
AttentionMaskInterface.register(ATTENTION_NAME, eager_mask)


def _eager_attention(module_class: type[nn.Module]) -> Callable[..., tuple[Tensor, Tensor]] | None:
    """The eager function that a module class hands to the attention interface; None if it uses none."""
    forward = inspect.unwrap(module_class.forward)
    try:
        source = inspect.getsource(forward)
    except (OSError, TypeError):  # compiled, or typed into a terminal
        return None
    call = re.search(r"\.get_interface\(\s*[\w.]+,\s*(\w+)", source)
    return forward.__globals__.get(call[1]) if call else None


def _layer_index(path: str, module: nn.Module) -> int:
    """The module's own count, else the first number in its path (`encoder.layer.3.attention`), else 0."""
    index = getattr(module, "layer_idx", None)
    if isinstance(index, int):
        return index
    numbers = [int(part) for part in path.split(".") if part.isdecimal()]
    return numbers[0] if numbers else 0


def _output_projection(model: nn.Module, path: str, module: nn.Module) -> nn.Module | None:
    """W_O of an attention module: a child of it, or (BERT and its kin) `output.dense` beside it."""
    children = [getattr(module, name, None) for name in OUTPUT_PROJECTIONS]
    parent = model.get_submodule(path.rpartition(".")[0])
    children.append(getattr(getattr(parent, "output", None), "dense", None))
    for child in children:
        if isinstance(child, nn.Linear | Conv1D):
            return child
    return None


def _per_head(projection: nn.Module, heads: int) -> Tensor | None:
    """W_O as (heads, head width, hidden); None for one that is no plain matrix, such as a quantized one."""
    weight = projection.weight
    # One byte per value: an 8-bit float, which means nothing without its scale.
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.element_size() == 1:
        return None
    matrix = weight.detach() if isinstance(projection, Conv1D) else weight.detach().T
    return matrix.view(heads, -1, matrix.shape[1])


def _implementation(model: PreTrainedModel) -> dict[str, str]:
    """The attention implementation of a model and of its parts that have a configuration of their own."""
    parts = {name: getattr(model.config, name) for name in model.config.sub_configs}
    return {
        "": model.config._attn_implementation,
        **{name: part._attn_implementation for name, part in parts.items() if part is not None},
    }
