"""Streaming capture of attention: weights go to a callback while the model runs, one layer at a time.

Weights and outputs are bit-identical to those of the model under eager attention. Most architectures of transformers
call attention by name through an interface, where a function of ours stands in for it (`interface`); the attention
modules of the others return their weights, which a forward hook takes (`hooks`). Either way no more than one layer's
weights are alive at any moment.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar, cast
from weakref import WeakSet

from torch import Tensor, nn
from transformers import PreTrainedModel

from headwise.attention.hooks import taking_weights
from headwise.attention.interface import EXACT, AttentionCall, intercepting
from headwise.attention.layers import AttentionLayer, CaptureError, attention_layers, per_head
from headwise.attention.row_tiles import row_tiles
from headwise.attention.tiled_attention import sees_nothing

__all__ = ["AttentionLayer", "CaptureError", "LayerAttention", "attention_layers", "capturing"]

Support = Literal["causal", "full"]


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


@contextmanager
def capturing(model: PreTrainedModel, receive: Receiver, *, padded: bool = False) -> Iterator[list[AttentionLayer]]:
    """Within the block, each forward pass of `model` hands the attention of its layers to `receive`.

    Batch size 1, a whole prompt at once, without a cache, and without padding unless `padded` is true. Then the
    keyword `attention_mask` (1, T) of a forward pass says which tokens are real, and `receive` gets the attention of
    all T positions: queries at pads may look anywhere (on the left they have no key and look everywhere alike), and
    `support` is that of the real tokens.

    The tensors given to `receive` are meant for the duration of the call: keeping them keeps a layer alive. Yields the
    attention layers. The model's attention implementation is as before once the block ends.

    Raises CaptureError for a model that `attention_layers` refuses, and in a forward pass that is padded unasked, in
    training mode or with a mask of heads, or that does not deliver each layer exactly once.
    """
    layers = attention_layers(model)
    with watching(model, _WeightCapture(model.config.model_type, layers, receive, padded), EXACT):
        yield layers


@contextmanager
def watching(model: PreTrainedModel, capture: "Capture", implementation: str) -> Iterator[None]:
    """Within the block, forward passes of `model` report to `capture`; `implementation` is the name under which the
    attention interface knows the way of capture.
    """
    layers = list(capture.layers.values())
    modules = list(capture.layers)
    if any(module in _CAPTURED for module in modules):
        raise CaptureError(f"model type '{capture.kind}' is being captured already: end that capture first.")
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
            undo.enter_context(intercepting(model, modules, capture.attended, implementation))
        else:
            undo.enter_context(taking_weights(model, modules, capture.returned))
        yield


# Modules that are being captured.
_CAPTURED: WeakSet[nn.Module] = WeakSet()

# What is known of a layer's attention once it was computed.
Seen = TypeVar("Seen")


class Capture(ABC, Generic[Seen]):
    """One forward pass: the layers that were delivered, and the halves of a layer whose other half is still to come.

    Through the interface a layer's attention comes first and its output projection reads after that; where a module
    returns its weights, it has projected before. A subclass says what is seen of attention and what becomes of it.
    """

    def __init__(self, kind: str, layers: list[AttentionLayer], padded: bool = False) -> None:
        self.kind = kind
        self.layers = {layer.module: layer for layer in layers}
        self.padded = padded
        self.real: Tensor | None = None  # positions of the real tokens of a padded prompt
        self.delivered: set[int] = set()
        self.seen: tuple[AttentionLayer, tuple[int, int], Seen, Support] | None = None  # with (T, heads)
        self.outputs: tuple[AttentionLayer, Tensor] | None = None

    @abstractmethod
    def see(self, layer: AttentionLayer, call: AttentionCall) -> tuple[Tensor, Seen]:
        """Compute attention: the heads' outputs (1, T, heads, head width), and what is seen."""

    @abstractmethod
    def see_weights(self, layer: AttentionLayer, weights: Tensor) -> Seen:
        """What is seen of attention weights (heads, T, T)."""

    @abstractmethod
    def looks_ahead(self, seen: Seen) -> bool:
        """Whether any query attends to a later key."""

    @abstractmethod
    def deliver(
        self, layer: AttentionLayer, seen: Seen, outputs: Tensor, projection: Tensor | None, support: Support
    ) -> None:
        """Take a complete layer: outputs (T, heads, head width), projection (heads, head width, hidden)."""

    def begin(self, model: nn.Module, inputs: Any, options: dict[str, Any]) -> None:
        self.delivered.clear()
        self.seen = self.outputs = None
        if any(layer.module.training for layer in self.layers.values()):
            raise self._error(
                "it is in training mode, in which attention is dropped at random: call model.eval() first."
            )
        if options.get("head_mask") is not None:
            raise self._error("a head_mask changes heads after their attention: leave it out.")
        mask = options.get("attention_mask")
        # Masks of more dimensions are a caller's own, and say nothing about padding.
        padded = mask is not None and mask.ndim == 2 and bool((mask == 0).any())
        self.real = cast(Tensor, mask)[0].nonzero()[:, 0] if padded else None
        if padded and not self.padded:
            raise self._error("the prompt is padded: give it without padding, or capture with padded=True.")

    def attended(self, call: AttentionCall) -> Tensor:
        """Stand in for the attention of a module: the heads' outputs (1, T, heads, head width)."""
        layer = self.layers[call.module]
        if call.causal is None:
            call = replace(call, causal=layer.causal)
        self._expect(layer, (*call.query.shape[:3], call.key.shape[2]))
        output, seen = self.see(layer, call)
        _, heads, tokens, _ = call.query.shape
        support = self._support(layer, seen, tokens, call)
        if layer.projection is None:
            self._join(layer, (tokens, heads), seen, output.detach(), support)
        else:
            self.seen = layer, (tokens, heads), seen, support
        return output

    def projected(self, layer: AttentionLayer, projection: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Take what the output projection reads: the heads' outputs, after the gates of some models."""
        outputs = inputs[0].detach()
        if not layer.uses_interface:
            self.outputs = layer, outputs
        elif self.seen is not None and self.seen[0] is layer:  # else called outside the model's forward pass
            _, shape, seen, support = self.seen
            self.seen = None
            self._join(layer, shape, seen, outputs, support)

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
        self._expect(layer, weights.shape)
        outputs, self.outputs = self.outputs[1], None
        seen = self.see_weights(layer, weights[0].detach())
        _, heads, tokens, _ = weights.shape
        support = self._support(layer, seen, tokens)
        self._join(layer, (tokens, heads), seen, outputs, support)

    def finish(self, *_: Any) -> None:
        if missing := sorted({layer.index for layer in self.layers.values()} - self.delivered):
            raise self._error(
                f"no attention arrived from layers {', '.join(map(str, missing))} of {len(self.layers)}: "
                "choose a checkpoint of another architecture."
            )

    def _expect(self, layer: AttentionLayer, shape: tuple[int, ...]) -> None:
        """One prompt, each layer once; `shape` is that of its weights."""
        if shape[0] != 1 or shape[-2] != shape[-1]:
            raise self._error(
                f"layer {layer.index}: attention weights of shape {tuple(shape)}: "
                "give it one whole prompt at a time, without a cache."
            )
        if layer.index in self.delivered or self.seen is not None:
            raise self._error(
                f"layer {layer.index}: attention is computed several times in one forward pass, so its heads "
                "have no single pattern: choose a checkpoint of another architecture."
            )

    def _support(self, layer: AttentionLayer, seen: Seen, tokens: int, call: AttentionCall | None = None) -> Support:
        """Measured on the attention: a mask that is lost on the way makes a model silently non-causal."""
        declared_causal = layer.causal if call is None else call.causal
        if (tokens if self.real is None else len(self.real)) == 1:
            return "causal" if declared_causal else "full"
        looks_ahead = self.looks_ahead(seen)
        if looks_ahead and declared_causal and call is not None and sees_nothing(call):
            raise self._error(
                f"layer {layer.index}: the mask leaves a query no key to look at, and eager attention then looks at "
                "all keys alike, future ones too: choose a checkpoint of another architecture."
            )
        if looks_ahead and declared_causal:
            raise self._error(
                f"layer {layer.index}: causal attention looks at future tokens, its mask was lost: use "
                "another version of transformers, or a checkpoint of another architecture."
            )
        return "full" if looks_ahead else "causal"

    def _join(
        self, layer: AttentionLayer, shape: tuple[int, int], seen: Seen, outputs: Tensor, support: Support
    ) -> None:
        """Deliver a layer whose heads' outputs came as (1, T, heads × head width); `shape` is (T, heads)."""
        outputs = outputs.reshape(*shape, -1)
        projection = None if layer.projection is None else per_head(layer.projection, shape[1], outputs.device)
        self.delivered.add(layer.index)
        self.deliver(layer, seen, outputs, projection, support)

    def _error(self, problem: str) -> CaptureError:
        return CaptureError(f"model type '{self.kind}': {problem}")


class _WeightCapture(Capture[Tensor]):
    """Sees the whole attention weights: float32 (heads, T, T)."""

    def __init__(self, kind: str, layers: list[AttentionLayer], receive: Receiver, padded: bool) -> None:
        super().__init__(kind, layers, padded)
        self.receive = receive

    def see(self, layer: AttentionLayer, call: AttentionCall) -> tuple[Tensor, Tensor]:
        output, weights = call.eagerly()
        return output, weights[0].detach().float()

    def see_weights(self, layer: AttentionLayer, weights: Tensor) -> Tensor:
        return weights.float()

    def looks_ahead(self, seen: Tensor) -> bool:
        return _looks_ahead(seen if self.real is None else seen[:, self.real][:, :, self.real])

    def deliver(
        self, layer: AttentionLayer, seen: Tensor, outputs: Tensor, projection: Tensor | None, support: Support
    ) -> None:
        self.receive(LayerAttention(layer.index, seen, outputs, projection, support))


def _looks_ahead(weights: Tensor) -> bool:
    """Whether any query attends to a later key."""
    return any(bool((rows.triu(first + 1) > 0).any()) for first, rows in row_tiles(weights))
