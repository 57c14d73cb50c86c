"""What training and alignment share: one thread, AdamW, the learning-rate schedule, one step of descent."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

BETAS = (0.9, 0.95)
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


def adamw(model: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) that decays matrices and leaves the gains of norms alone."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [parameter for parameter in parameters if parameter.ndim >= 2],
            "weight_decay": weight_decay,
        },
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=BETAS, fused=True)


def learning_rate_at(step: int, steps: int, warmup: int, peak: float) -> float:
    """Learning rate at a step from 0: linear to `peak` over `warmup` steps, then half a cosine towards 0."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def descend(
    model: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor, learning_rate: float, step: int
) -> None:
    """One step down `loss`, with clipped gradients. Raises TrainingError on a loss that is not finite."""
    if not torch.isfinite(loss):
        raise TrainingError(
            f"training: the loss is {loss.item()} at step {step} with learning rate {learning_rate:.2g}: "
            "lower the learning rate or lengthen the warm-up"
        )
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT_NORM)
    optimizer.step()
