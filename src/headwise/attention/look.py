"""One head over the tokens of one text."""

from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel

from headwise.attention.capture import LayerAttention, capturing
from headwise.models.encoding import encode, limits_of
from headwise.models.load import load_checkpoint
from headwise.study.extraction import Extraction
from headwise.study.prompts import Prompt


class LookError(ValueError):
    """A head that the model does not have; the message says which it has."""


@torch.inference_mode()
def head_on_text(checkpoint: Path, text: str, layer: int, head: int, settings: Extraction) -> pd.DataFrame:
    """A row per query and key that it may attend to: query, key, query_token, key_token, weight (float64).

    Raises LookError where there is no such head, and what loading and encoding raise.
    """
    model, tokenizer = load_checkpoint(checkpoint, settings.dtype, settings.device)
    (prompt,) = encode([Prompt(id="text", domain="text", text=text)], tokenizer, settings, limits_of(model))
    kept: list[LayerAttention] = []

    def keep(attention: LayerAttention) -> None:
        if attention.layer == layer:
            kept.append(attention)

    body = cast(PreTrainedModel, model.base_model)
    with capturing(body, keep) as layers:
        known = [each.index for each in layers]
        if layer not in known:
            raise LookError(
                f"{checkpoint}: there is no attention in layer {layer}: choose from {', '.join(map(str, known))}"
            )
        body(input_ids=torch.tensor([prompt.token_ids], device=model.device), use_cache=False)
    (attention,) = kept
    weights = attention.weights.double().cpu().numpy()
    if not 0 <= head < len(weights):
        raise LookError(f"{checkpoint}: layer {layer} has no head {head}: choose from 0 to {len(weights) - 1}")
    reachable = np.ones_like(weights[head], dtype=bool)
    if attention.support == "causal":
        reachable = np.tril(reachable)
    query, key = np.nonzero(reachable)
    tokens = np.array([tokenizer.decode([token]) for token in prompt.token_ids], dtype=object)
    return pd.DataFrame(
        {
            "query": query,
            "key": key,
            "query_token": tokens[query],
            "key_token": tokens[key],
            "weight": weights[head][query, key],
        }
    )
