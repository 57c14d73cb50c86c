"""How far two models are from each other: in what they predict, and in their weights."""

import math
from collections.abc import Iterable

import torch
from transformers import PreTrainedModel

from headwise.models.load import input_device


def divergences(aligned: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """KL(aligned || base) at each position, nats: Σ p ln(p / q) over the vocabulary.

    Takes logits (T, V) of both at the same positions; gives float64 (T,), 0 or more but for rounding, exactly 0 where
    the logits are the same. Probabilities are float32, their sum is float64.
    """
    log_p, log_q = (logits.float().log_softmax(-1) for logits in (aligned, base))
    return (log_p.exp() * (log_p - log_q)).double().sum(-1)


@torch.no_grad()
def next_token_logits(model: PreTrainedModel, token_ids: list[int]) -> torch.Tensor:
    """Logits (T, V) of what follows each token of a text, on the CPU."""
    device = input_device(model)
    return model(input_ids=torch.tensor([token_ids], device=device), use_cache=False).logits[0].cpu()


def mean_divergence(aligned: PreTrainedModel, base: PreTrainedModel, texts: Iterable[list[int]]) -> tuple[float, int]:
    """KL(aligned || base), nats per token, and over how many positions: of the same token ids in both, each position
    with what stands before it, all positions of all texts alike."""
    found = [divergences(*(next_token_logits(model, text) for model in (aligned, base))) for text in texts]
    values = torch.cat(found)
    return float(values.mean()), len(values)


@torch.no_grad()
def displacement(aligned: PreTrainedModel, base: PreTrainedModel) -> float | None:
    """‖W − W₀‖ / ‖W₀‖, Frobenius norms over all weights together, tied ones once; 0 or more.

    None where the two have other weights, or weights of other shapes, as when a vocabulary was enlarged.
    """
    own, start = (dict(model.named_parameters()) for model in (aligned, base))
    if {name: each.shape for name, each in own.items()} != {name: each.shape for name, each in start.items()}:
        return None
    moved = math.fsum(_square(own[name].double().cpu() - each.double().cpu()) for name, each in start.items())
    return math.sqrt(moved / math.fsum(_square(each.double().cpu()) for each in start.values()))


def _square(weights: torch.Tensor) -> float:
    return float(weights.square().sum())
