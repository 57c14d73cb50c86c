"""What training and alignment share: one thread, Adam and AdamW, the learning-rate schedule, one step of descent."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

FIRST_MOMENT, SECOND_MOMENT = 0.9, 0.95
LARGEST_GRADIENT_NORM = 1.0


class TrainingError(RuntimeError):
    """Training that cannot start or go on; the message says why and what to change."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: sums over several threads differ in their last bits from run to run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def adamw(
    model: nn.Module,
    weight_decay: float,
    decayed: Literal["matrices", "all"] = "matrices",
    beta2: float = SECOND_MOMENT,
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) that decays matrices and leaves the gains of norms alone, or decays all."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fewest_dimensions = 2 if decayed == "matrices" else 0
    groups = [
        {
            "params": [parameter for parameter in parameters if parameter.ndim >= fewest_dimensions],
            "weight_decay": weight_decay,
        },
        {"params": [parameter for parameter in parameters if parameter.ndim < fewest_dimensions], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(FIRST_MOMENT, beta2), fused=True)


def adam(model: nn.Module, beta2: float = SECOND_MOMENT) -> torch.optim.Adam:
    """Adam (Kingma and Ba 2015), without any weight decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.Adam(parameters, lr=0.0, betas=(FIRST_MOMENT, beta2), fused=True)


def learning_rate_at(
    step: int, steps: int, warmup: int, peak: float, schedule: Literal["cosine", "constant"] = "cosine"
) -> float:
    """Learning rate at a step from 0: linear to `peak` over `warmup` steps, then half a cosine towards 0, or `peak`."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if schedule == "constant":
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def descend(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: torch.Tensor,
    learning_rate: float,
    step: int,
    gradient_norm: float | None = LARGEST_GRADIENT_NORM,
) -> None:
    """One step down `loss`, gradients no longer than `gradient_norm`, or as they are where it is None.

    Raises TrainingError on a loss that is not finite.
    """
    if not torch.isfinite(loss):
        raise TrainingError(
            f"training: the loss is {loss.item()} at step {step} with learning rate {learning_rate:.2g}: "
            "lower the learning rate or lengthen the warm-up"
        )
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad()
    loss.backward()
    if gradient_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), gradient_norm)
    optimizer.step()
