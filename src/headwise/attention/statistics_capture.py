"""Capture of statistics alone: attention is computed in tiles, and each is added up while it is at hand.

Statistics are those of `layer_statistics`, from float32 sums within a tile and float64 sums over tiles. Whole weights
of a layer exist only where a model cannot be asked for tiles: see `Way`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from headwise.attention.capture import Capture, Support, watching
from headwise.attention.cka import cka_of_writes, write_factors
from headwise.attention.interface import TILED, AttentionCall
from headwise.attention.layer_statistics import LayerStatistics, no_projection, statistics_from
from headwise.attention.layer_sums import LayerSums
from headwise.attention.layers import AttentionLayer, attention_layers
from headwise.attention.row_tiles import row_tiles
from headwise.attention.scratch import Scratch
from headwise.attention.tiled_attention import Kind, attend_at_once, attend_in_tiles, can_tile, kind_of
from headwise.models.load import input_device

# tiled: softmax(scale q k^T + mask) v in tiles. eager_tiled: the model's own eager attention in tiles. exact: the
# model's own eager attention at once, where it returns its weights outside the attention interface or its rows cannot
# be taken apart.
Way = Literal["tiled", "eager_tiled", "exact"]
WAYS: dict[Kind, Way] = {"plain": "tiled", "own": "eager_tiled"}
# Query rows, of all heads, of layers that wait until their statistics are computed at once.
MOST_WAITING = 2**15


@dataclass(frozen=True)
class CapturedStatistics:
    """The statistics of one layer on one prompt.

    layer: index of the layer in the model. finite: whether attention and head outputs are. way: how it was captured.
    """

    layer: int
    statistics: LayerStatistics
    support: Support
    finite: bool
    way: Way


# Receives a layer, the number of tokens, the position of a tile's first row, and its weights (heads, rows, keys up to
# the last that any of the rows looks at), overwritten afterwards.
TakeTile = Callable[[int, int, int, Tensor], None]


@contextmanager
def capturing_statistics(
    model: PreTrainedModel,
    names: Sequence[str],
    receive: Callable[[CapturedStatistics], None],
    take_tile: TakeTile | None = None,
) -> Iterator[list[AttentionLayer]]:
    """Within the block, each forward pass of `model` hands the statistics of its layers to `receive`.

    As `capture.capturing`, without padding; `names` are the statistics of pairs of heads that are wanted. Layers of
    short prompts are handed on several at once. `take_tile` gets the weights on the way, before `receive` gets the
    layer. The model's weights do not change within the block.

    Raises CaptureError as `capture.capturing` does, and ValueError for output_cka where an output projection is no
    plain matrix.
    """
    layers = attention_layers(model)
    capture = _SumCapture(model.config.model_type, layers, names, receive, take_tile)
    with watching(model, capture, TILED):
        yield layers


def way_of(model: PreTrainedModel) -> Way:
    """How the attention of a model is captured, told on a prompt of two tokens; the last of `Way` where layers differ.

    Raises CaptureError as `capturing_statistics` does.
    """
    ways: list[Way] = []
    with capturing_statistics(model, (), lambda layer: ways.append(layer.way)):
        model(input_ids=torch.zeros(1, 2, dtype=torch.long, device=input_device(model)))
    return max(ways, key=get_args(Way).index)


@dataclass
class _Seen:
    sums: LayerSums
    way: Way


@dataclass(frozen=True)
class _Waiting:
    """A layer that was added up, with its heads' outputs (T, heads, head width) and the factors of its projection."""

    layer: int
    seen: _Seen
    outputs: Tensor
    factors: Tensor | None
    support: Support

    def like(self, other: "_Waiting") -> bool:
        """Whether statistics of both can be computed at once."""
        return (self.outputs.shape, self.outputs.device, self.support, self.seen.sums.exact) == (
            other.outputs.shape, other.outputs.device, other.support, other.seen.sums.exact,
        )  # fmt: skip


class _SumCapture(Capture[_Seen]):
    """Sees attention in tiles, and adds them up."""

    def __init__(
        self,
        kind: str,
        layers: list[AttentionLayer],
        names: Sequence[str],
        receive: Callable[[CapturedStatistics], None],
        take_tile: TakeTile | None,
    ) -> None:
        super().__init__(kind, layers)
        self.names = names
        self.receive = receive
        self.take_tile = take_tile
        self.scratch = Scratch()
        self.kinds: dict[int, Kind] = {}
        self.factors: dict[int, Tensor] = {}
        self.waiting: list[_Waiting] = []

    @torch.no_grad()
    def see(self, layer: AttentionLayer, call: AttentionCall) -> tuple[Tensor, _Seen]:
        if not can_tile(call):
            output, weights = attend_at_once(call)
            return output, self.see_weights(layer, weights[0])
        if layer.index not in self.kinds:
            self.kinds[layer.index] = kind_of(call)
        kind = self.kinds[layer.index]
        tokens = call.query.shape[2]
        # Without a mask of the model's own, plain attention is causal as it is computed here.
        causal = kind == "plain" and bool(call.causal) and call.mask is None
        sums = LayerSums(tokens, self.names, self.scratch, causal)
        output = attend_in_tiles(call, kind, lambda first, tile: self._add(layer, sums, first, tile), self.scratch)
        return output, _Seen(sums, WAYS[kind])

    @torch.no_grad()
    def see_weights(self, layer: AttentionLayer, weights: Tensor) -> _Seen:
        sums = LayerSums(weights.shape[-1], self.names, self.scratch)
        for first, tile in row_tiles(weights):
            self._add(layer, sums, first, tile)
        return _Seen(sums, "exact")

    def looks_ahead(self, seen: _Seen) -> bool:
        return seen.sums.looks_ahead

    def deliver(
        self, layer: AttentionLayer, seen: _Seen, outputs: Tensor, projection: Tensor | None, support: Support
    ) -> None:
        factors = None
        if "output_cka" in self.names:
            if projection is None:
                raise ValueError(no_projection(layer.index))
            if layer.index not in self.factors:
                self.factors[layer.index] = write_factors(projection, torch.float32)
            factors = self.factors[layer.index]
        waiting = _Waiting(layer.index, seen, outputs, factors, support)
        if self.waiting and not waiting.like(self.waiting[0]):
            self._finish_layers()
        self.waiting.append(waiting)
        tokens, heads, _ = outputs.shape
        if len(self.waiting) * heads * tokens >= MOST_WAITING:
            self._finish_layers()

    def begin(self, model: nn.Module, inputs: Any, options: dict[str, Any]) -> None:
        self.waiting.clear()
        super().begin(model, inputs, options)

    def finish(self, *arguments: Any) -> None:
        self._finish_layers()
        super().finish(*arguments)

    @torch.no_grad()
    def _finish_layers(self) -> None:
        """Hand on the statistics of the layers that wait."""
        layers, self.waiting = self.waiting, []
        if not layers:
            return
        outputs = torch.stack([layer.outputs for layer in layers])
        factors = [layer.factors for layer in layers if layer.factors is not None]
        cka = cka_of_writes(outputs, torch.stack(factors)) if factors else None
        statistics = statistics_from([layer.seen.sums for layer in layers], layers[0].support, cka)
        # A sum is finite exactly if all of its terms are.
        received = torch.stack([each.heads["kept"].received for each in statistics])
        finite = (received.sum((1, 2)) + outputs.sum((1, 2, 3), dtype=torch.float32)).isfinite().tolist()
        for layer, of_layer, is_finite in zip(layers, statistics, finite, strict=True):
            self.receive(CapturedStatistics(layer.layer, of_layer, layer.support, is_finite, layer.seen.way))

    def _add(self, layer: AttentionLayer, sums: LayerSums, first: int, tile: Tensor) -> None:
        sums.add(first, tile)
        if self.take_tile is not None:
            self.take_tile(layer.index, sums.tokens, first, tile)
