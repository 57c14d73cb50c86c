"""Memory that is used again and again, so that work in tiles does not ask the system for new memory at every tile."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Scratch:
    """Tensors by name. What one name gave is overwritten once that name is asked for again."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

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
