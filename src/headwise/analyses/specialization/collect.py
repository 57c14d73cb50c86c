"""Statistics of attention gathered in memory while layers stream in, for estimators beside the forward pass."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from headwise.analyses.specialization.measured import Measured
from headwise.attention.capture import LayerAttention
from headwise.attention.layer_statistics import LayerStatistics, statistics_of
from headwise.attention.sinks import SINKS, Sink


class Collector:
    """Reduces layer after layer, prompt after prompt, and gives what estimators read.

    Statistics are rounded to float32, as in the files of extraction, which sums tiles in float32: last digits differ.
    Memory holds statistics alone: attention is let go of with each call.
    """

    def __init__(self, source: str, statistics: Sequence[str]) -> None:
        """`source` names the measurement in messages; `statistics` are those of pairs of heads (see `reduce`)."""
        self.source = source
        self.statistics = list(statistics)
        # prompt → layer → statistics
        self._found: dict[str, dict[int, LayerStatistics]] = {}

    def add(self, prompt: str, attention: LayerAttention) -> None:
        """Count in the attention of one layer on one prompt."""
        self._found.setdefault(prompt, {})[attention.layer] = statistics_of(attention, self.statistics)

    def measured(self, metadata: Mapping[str, Any]) -> Measured:
        """What was gathered, prompts in the order in which they came. Every prompt must have the same layers.

        Raises ValueError where no prompt was counted in.
        """
        if not self._found:
            raise ValueError(f"{self.source}: no prompt was measured: give at least one")
        prompts = tuple(self._found)
        layers = sorted(self._found[prompts[0]])
        shapes = [self._found[prompt][layers[0]].heads["kept"].received.shape for prompt in prompts]
        names = {sink: list(self._found[prompts[0]][layers[0]].pairs[sink]) for sink in SINKS}
        return Measured(
            source=self.source,
            prompts=prompts,
            tokens=np.array([tokens for _, tokens in shapes], dtype=np.int32),
            layers=np.array(layers, dtype=np.int16),
            heads=shapes[0][0],
            row_entropy_nats={sink: self._by_prompt("row_entropy_nats", sink, layers) for sink in SINKS},
            received={sink: self._by_prompt("received", sink, layers) for sink in SINKS},
            pairs={
                name: {sink: self._by_layer(name, sink, layers) for sink in SINKS if name in names[sink]}
                for name in names["kept"]
            },
            metadata=metadata,
        )

    def _by_prompt(self, field: str, sink: Sink, layers: Sequence[int]) -> tuple[npt.NDArray[np.float32], ...]:
        """A statistic of heads: one (layers, heads, tokens) array per prompt."""
        return tuple(
            _float32(torch.stack([getattr(of_layer[layer].heads[sink], field) for layer in layers]))
            for of_layer in self._found.values()
        )

    def _by_layer(self, name: str, sink: Sink, layers: Sequence[int]) -> npt.NDArray[np.float32]:
        """A statistic of pairs: (prompts, layers, pairs)."""
        return np.stack(
            [
                _float32(torch.stack([of_layer[layer].pairs[sink][name] for layer in layers]))
                for of_layer in self._found.values()
            ]
        )


def _float32(values: torch.Tensor) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = values.float().cpu().numpy()
    return array
