"""Memory that is used again and again, so that work in tiles does not ask the system for new memory at every tile."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Scratch:
    """Tensors by name. What one name gave is overwritten once that name is asked for again."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}
        self._tables: dict[str, Tensor] = {}

    def tensor(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """An uninitialised, contiguous tensor of that shape, of the dtype and on the device of `like`."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size or (buffer.dtype, buffer.device) != (like.dtype, like.device):
            # An ordinary tensor even in inference mode: it may be written to outside as well.
            with torch.inference_mode(False):
                buffer = torch.empty(size, dtype=like.dtype, device=like.device)
            self._buffers[name] = buffer
        return buffer[:size].view(tuple(shape))

    def table(self, name: str, size: int, like: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        """A square table of that size, as `make` says from positions 0, 1, ... in the dtype and on the device of
        `like`: made once, since a smaller one is a corner of it. Not to be written to."""
        table = self._tables.get(name)
        if table is None or len(table) < size or (table.dtype, table.device) != (like.dtype, like.device):
            with torch.inference_mode(False):
                table = make(torch.arange(size, dtype=like.dtype, device=like.device))
            self._tables[name] = table
        return table[:size, :size]


def distances(positions: Tensor) -> Tensor:
    """Between all pairs of positions."""
    return (positions[:, None] - positions).abs()


def ahead(positions: Tensor) -> Tensor:
    """A mask to be added to scores: the lowest number where a key comes after the query, else 0."""
    lowest = torch.finfo(positions.dtype).min
    return torch.zeros_like(positions).expand(len(positions), -1).masked_fill(positions > positions[:, None], lowest)
