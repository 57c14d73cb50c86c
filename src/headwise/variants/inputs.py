"""What a model is given under a variant of the extraction: token ids, mask and positions of one prompt."""

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.attention.descriptors import model_positions
from headwise.prompts import EncodedPrompt, Prompt, encode
from headwise.study.variants import Variant


class ImpossibleVariant(ValueError):
    """A variant that a model does not allow; the message is a reason for a table."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """One prompt as a model is given it.

    arguments  keywords of the forward pass, each (1, T)
    real       indices of the real tokens among the T, in ascending order
    """

    prompt: str
    arguments: dict[str, Tensor]
    real: Tensor

    def positions(self, averaging: str) -> Tensor | None:
        """The positions that enter statistics under a variant's `averaging`; None where all do."""
        tokens = self.arguments["input_ids"].shape[1]
        if averaging == "unmasked" or len(self.real) == tokens:
            return None
        return self.real if averaging == "masked" else torch.arange(len(self.real), device=self.real.device)


def prepare(
    prompts: Sequence[Prompt], variant: Variant, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> list[Inputs]:
    """The prompts as `model` is given them under a variant whose template is resolved.

    Pads, where there are any, are out of the mask; a model that counts positions itself is given none. Not padded,
    the model gets token ids alone, as in extraction.

    Raises ImpossibleVariant where the tokenizer lacks the template or the pad token, or a prompt is too long for
    padding or for the model's positions, and PromptError for a prompt of no tokens.
    """
    chat = variant.template == "chat" or (variant.template == "chat_or_raw" and tokenizer.chat_template is not None)
    if chat and tokenizer.chat_template is None:
        raise ImpossibleVariant("the tokenizer has no chat template")
    encoded = encode(prompts, tokenizer, "chat" if chat else "raw", sys.maxsize, variant.special_tokens)
    side = str(tokenizer.padding_side) if variant.padding == "tokenizer" else variant.padding
    pad = _pad_token(variant, tokenizer)
    return [model_inputs(prompt, variant, side, pad, model) for prompt in encoded]


def model_inputs(prompt: EncodedPrompt, variant: Variant, side: str, pad: int, model: PreTrainedModel) -> Inputs:
    """One encoded prompt as `model` is given it, padded on that side ("left", "right", "none") with that token."""
    real = len(prompt.token_ids)
    tokens = real if side == "none" else variant.pad_to
    positions = model_positions(model)
    if real > tokens:
        raise ImpossibleVariant(f"prompt '{prompt.id}' has {real} tokens, more than pad_to {tokens}; none is ever cut")
    if positions is not None and tokens > positions:
        raise ImpossibleVariant(
            f"prompt '{prompt.id}' takes {tokens} tokens, more than the model's {positions} positions"
        )
    before = tokens - real if side == "left" else 0
    after = tokens - real - before
    ids = [pad] * before + prompt.token_ids + [pad] * after
    arguments = {"input_ids": torch.tensor([ids], device=model.device)}
    if side != "none":
        mask = [0] * before + [1] * real + [0] * after
        arguments["attention_mask"] = torch.tensor([mask], device=model.device)
        if variant.position_ids == "mask" and "position_ids" in inspect.signature(model.forward).parameters:
            # Pads on the left stand at position 0, those on the right go on counting.
            counted = torch.arange(tokens, device=model.device) - before
            arguments["position_ids"] = counted.clamp(min=0)[None]
    return Inputs(prompt.id, arguments, torch.arange(before, before + real, device=model.device))


def _pad_token(variant: Variant, tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the pad token; 0, which is never used, where the variant does not pad."""
    if variant.padding == "none":
        return 0
    own = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    named = {
        "tokenizer": ("pad or end", own),
        "eos": ("end", tokenizer.eos_token_id),
        "bos": ("first", tokenizer.bos_token_id),
        "unknown": ("unknown", tokenizer.unk_token_id),
    }
    name, token = named[variant.pad_token]
    if token is None:
        raise ImpossibleVariant(f"the tokenizer has no {name} token to pad with")
    return int(token)
