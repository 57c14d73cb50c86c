"""Writing text with a model: token by token, in batches of equal length, with or without a cache of keys and values."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.models.encoding import limits_of
from headwise.models.finite import why_not_finite
from headwise.models.resources import LOGITS_BYTES
from headwise.statistics.arrays import FloatArray


class GenerationError(ValueError):
    """Text that a model cannot write as asked; the message says why and what to change."""


@dataclass(frozen=True)
class Written:
    """What a model wrote after one input: token ids without the token that ended it, and ln p of each, nats."""

    tokens: list[int]
    log_probabilities: list[float]

    @property
    def nll_nats(self) -> float | None:
        """Mean negative ln p per token; None where nothing was written."""
        return -float(np.mean(self.log_probabilities)) if self.tokens else None


@torch.inference_mode()
def write(
    model: PreTrainedModel,
    inputs: Tensor,
    new_tokens: int,
    *,
    stop: Collection[int],
    temperature: float = 0.0,
    uniforms: FloatArray | None = None,
    use_cache: bool = True,
) -> list[Written]:
    """Up to `new_tokens` tokens after each input, (texts, T), all of one length and none of it padding.

    stop         token ids that end a text
    temperature  0: the likeliest token; else token k of a text is drawn from softmax(logits / temperature) at the
                 quantile uniforms[text, k], (texts, new_tokens) within [0, 1), so that what is written does not
                 depend on what else is in the batch
    use_cache    whether keys and values are kept; without, every token is computed again from the whole text

    ln p is that of temperature 1. Raises GenerationError where the text would not fit the model's positions, or where
    its logits are not finite.
    """
    positions, length = limits_of(model).positions, inputs.shape[1]
    if positions is not None and length + new_tokens > positions:
        raise GenerationError(
            f"model type '{model.config.model_type}': {length} tokens and {new_tokens} new ones do not fit into "
            f"{positions} positions: lower new_tokens or context"
        )
    written: list[Written] = [Written([], []) for _ in inputs]
    running = torch.ones(len(inputs), dtype=torch.bool)
    text, fresh, cache = inputs, inputs, None
    for position in range(new_tokens):
        # Of a large vocabulary only the logits that are read; a product with fewer rows may round otherwise.
        many = 4 * fresh.numel() * model.config.get_text_config().vocab_size > LOGITS_BYTES
        output = model(
            input_ids=fresh, past_key_values=cache, use_cache=use_cache, **({"logits_to_keep": 1} if many else {})
        )
        logits = output.logits[:, -1].double().cpu()
        if not logits[running].isfinite().all():
            raise GenerationError(
                f"model type '{model.config.model_type}': its logits are not finite after {position} written tokens: "
                f"{why_not_finite(model)}"
            )
        chosen = _choose(logits, temperature, None if uniforms is None else uniforms[:, position])
        log_probabilities = logits.log_softmax(-1).gather(1, chosen[:, None])[:, 0]
        for row in range(len(inputs)):
            if running[row] and int(chosen[row]) in stop:
                running[row] = False
            elif running[row]:
                written[row].tokens.append(int(chosen[row]))
                written[row].log_probabilities.append(float(log_probabilities[row]))
        if not running.any():
            break
        fresh = chosen[:, None].to(inputs)
        if use_cache:
            cache = output.past_key_values
        else:
            text = fresh = torch.cat([text, fresh], dim=1)
    return written


def stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids of the tokens that end a text, as the tokenizer and the model's generation settings have them."""
    declared = getattr(model.generation_config, "eos_token_id", None)
    ids = declared if isinstance(declared, list) else [declared]
    return {token for token in [*ids, tokenizer.eos_token_id] if token is not None}


def _choose(logits: Tensor, temperature: float, uniforms: FloatArray | None) -> Tensor:
    """One token per row: int64 (rows,)."""
    if temperature == 0:
        return logits.argmax(-1)
    if uniforms is None:
        raise ValueError("sampling at a temperature above 0 needs uniforms")
    cumulative = (logits / temperature).softmax(-1).cumsum(-1)
    # Rounding leaves the last sum below 1: a quantile beyond it is the last token's.
    quantiles = torch.from_numpy(uniforms)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, quantiles, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
