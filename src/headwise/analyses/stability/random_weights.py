"""Models with random weights, whose attention is the control of every comparison."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from headwise.analyses.stability.names import RANDOM
from headwise.analyses.stability.residual import read_prompt
from headwise.attention.capture import LayerAttention, Support, capturing
from headwise.attention.store import TensorWriter
from headwise.models.architecture import language_model_class
from headwise.runtime.progress import track
from headwise.runtime.provenance import json_digest
from headwise.study.prompts import EncodedPrompt


def random_model(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A model of the same configuration with the random weights that its class starts training from.

    Matrices that are zero in the trained model, as those of silenced feed-forward layers, are zero here.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random = language_model_class(model.config).from_config(model.config)
    random = random.to(device=model.device, dtype=model.dtype).eval()
    with torch.no_grad():
        for trained, fresh in zip(model.parameters(), random.parameters(), strict=True):
            if trained.ndim > 1 and not trained.any():
                fresh.zero_()
    return cast(PreTrainedModel, random)


@torch.inference_mode()
def write_attention(
    model: PreTrainedModel, prompts: Sequence[EncodedPrompt], path: Path, metadata: Mapping[str, Any], seed: int
) -> None:
    """Write the attention of a model on all prompts as a tensor Parquet."""
    support: set[Support] = set()
    body = cast(PreTrainedModel, model.base_model)
    longest = max(prompts, key=lambda prompt: len(prompt.token_ids))
    with capturing(body, lambda attention: support.add(attention.support)):
        read_prompt(model, longest)
    facts = {
        **metadata,
        "weights": RANDOM,
        "seed": seed,
        "tokens_digest": json_digest({prompt.id: prompt.token_ids for prompt in prompts}),
    }
    with ExitStack() as files:
        writer = files.enter_context(TensorWriter.open(path, "full" if "full" in support else "causal", facts))
        current = ""

        def record(attention: LayerAttention) -> None:
            writer.add(current, attention.layer, attention.weights)

        with capturing(body, record):
            for prompt in track(prompts, "attention of random weights", len(prompts)):
                current = prompt.id
                read_prompt(model, prompt)
