"""Controls on one model of the study: capture against the library, repetition, a window too wide to act."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from headwise.analyses.controls.control import Control, not_run, within
from headwise.attention.capture import LayerAttention, capturing
from headwise.models.load import load_checkpoint
from headwise.models.optimization import one_thread
from headwise.study.prompts import read_prompts

EAGER = "captured attention against the library's eager attention"
TWICE = "the same prompt measured twice"
WINDOW = "a sliding window wider than the prompt"
NOTHING = "a difference of 0"
MOST_TOKENS = 64


@one_thread()
def model_controls(checkpoint: Path, prompts: Path, name: str) -> Iterator[Control]:
    """Controls on a checkpoint, in float32, on the first tokens of the first prompt. `name`: of the model."""
    with torch.inference_mode():
        model, tokenizer = load_checkpoint(checkpoint)
        ids = tokenizer(read_prompts(prompts)[0].text)["input_ids"][:MOST_TOKENS]
        tokens = torch.tensor([ids])
        body = cast(PreTrainedModel, model.base_model)
        body.config.use_cache = False
        captured = captured_weights(body, tokens)
        basis = f"model {name}, {len(ids)} tokens"
        yield within(TWICE, basis, NOTHING, largest_difference(captured, captured_weights(body, tokens)), 0.0, 0.0)
        yield _against_eager(body, tokens, captured, basis)
        yield _wide_window(body, tokens, basis)


def captured_weights(body: PreTrainedModel, tokens: torch.Tensor) -> dict[int, torch.Tensor]:
    """Attention weights by layer: (heads, T, T)."""
    found: dict[int, torch.Tensor] = {}

    def receive(attention: LayerAttention) -> None:
        found[attention.layer] = attention.weights.clone()

    with capturing(body, receive):
        body(input_ids=tokens)
    return found


def largest_difference(first: dict[int, torch.Tensor], second: dict[int, torch.Tensor]) -> float:
    """Largest absolute difference of any weight; infinite where the layers differ."""
    if first.keys() != second.keys():
        return float("inf")
    return max(float((first[layer] - second[layer]).abs().max()) for layer in first)


def _against_eager(
    body: PreTrainedModel, tokens: torch.Tensor, captured: dict[int, torch.Tensor], basis: str
) -> Control:
    before = body.config._attn_implementation
    body.set_attn_implementation("eager")
    try:
        returned: Any = body(input_ids=tokens, output_attentions=True).attentions
    finally:
        body.set_attn_implementation(before)
    if returned is None or len(returned) != len(captured) or any(weights is None for weights in returned):
        return not_run(EAGER, NOTHING, "the library returns no attention weights for this architecture")
    eager = {layer: weights[0].float() for layer, weights in zip(sorted(captured), returned, strict=True)}
    return within(EAGER, basis, NOTHING, largest_difference(captured, eager), 0.0, 0.0)


def _wide_window(body: PreTrainedModel, tokens: torch.Tensor, basis: str) -> Control:
    config: Any = body.config
    if not hasattr(config, "sliding_window"):
        return not_run(WINDOW, NOTHING, f"model type '{config.model_type}' has no sliding window")
    kept = config.sliding_window
    try:
        measured = []
        for window in (None, 4 * tokens.shape[1]):
            config.sliding_window = window
            measured.append(captured_weights(body, tokens))
    finally:
        config.sliding_window = kept
    return within(WINDOW, basis, NOTHING, largest_difference(measured[0], measured[1]), 0.0, 0.0)
