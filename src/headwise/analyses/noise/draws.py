"""Noise that depends on what it is drawn for, and on nothing else."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from headwise.statistics.generators import generator_for


@dataclass(frozen=True)
class NoiseRow:
    """What one row of a batch is: a draw of the noise, and the text that it is drawn for."""

    draw: int
    text: str


def standard_noise(seed: int, rows: tuple[NoiseRow, ...], layer: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise for a layer's activations: float32 (rows, *shape), on the CPU.

    The numbers of a row follow from (seed, draw, text, layer) alone: they are the same in any batch, in any order of
    layers, for every model and dose, and on every device. Where the first dimension is the tokens, a longer text
    begins with the numbers of a shorter one.
    """
    noise = np.stack(
        [
            generator_for("noise", seed, row.draw, row.text, layer).standard_normal(shape, dtype=np.float32)
            for row in rows
        ]
    )
    return torch.from_numpy(noise)
