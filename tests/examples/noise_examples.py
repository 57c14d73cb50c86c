"""Small perturbed models that several tests use."""

import torch
from attention_examples import tiny_model, token_ids
from transformers import PreTrainedModel

from headwise.analyses.noise.dose import Subject

TEXTS, TOKENS = 3, 12


def texts() -> torch.Tensor:
    """Token ids (3, 12)."""
    return torch.cat([token_ids(TOKENS, seed=number) for number in range(TEXTS)])


def subject(model: PreTrainedModel | None = None, seed: int = 1) -> Subject:
    """A tiny Llama, or the model given, as the experiments perturb it."""
    model = model or tiny_model("llama", num_key_value_heads=2)
    return Subject("tiny", model, seed, texts())
