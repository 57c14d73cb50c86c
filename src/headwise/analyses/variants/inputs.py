"""What a model is given under a variant of the extraction: token ids, mask and positions of one prompt."""

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.analyses.variants.settings import Variant
from headwise.models.encoding import Encoder, EncodingError, encode, limits_of
from headwise.models.templates import ChatTemplateError
from headwise.study.extraction import Extraction
from headwise.study.prompts import EncodedPrompt, Prompt


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
    prompts: Sequence[Prompt], variant: Variant, date: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> list[Inputs]:
    """The prompts as `model` is given them under a variant whose template and first token are resolved; `date` is what
    chat templates take for today.

    Pads, where there are any, are out of the mask; a model that counts positions itself is given none. Not padded,
    the model gets token ids alone, as in extraction.

    Raises ImpossibleVariant where the tokenizer lacks the template, the first or the pad token, the template cannot be
    used, the model has no embedding of a token, or a prompt is too long for padding or for the model's positions, and
    PromptError for a prompt of no tokens.
    """
    chat = variant.template == "chat" or (variant.template == "chat_or_raw" and tokenizer.chat_template is not None)
    if chat and tokenizer.chat_template is None:
        raise ImpossibleVariant("the tokenizer has no chat template")
    read_as = {"template": "chat" if chat else "raw", "first_token": variant.first_token, "date": date}
    settings = Extraction().model_copy(update={**read_as, "max_tokens": sys.maxsize})
    # Reasons go into a table, which names no folder. Positions count the pads: see `model_inputs`.
    encoder = replace(Encoder.of(tokenizer), name="the tokenizer")
    limits = replace(limits_of(model), positions=None)
    try:
        encoded = encode(prompts, encoder, settings, limits, variant.special_tokens)
    except (EncodingError, ChatTemplateError) as error:
        raise ImpossibleVariant(str(error)) from None
    side = str(tokenizer.padding_side) if variant.padding == "tokenizer" else variant.padding
    pad = _pad_token(variant, tokenizer)
    return [model_inputs(prompt, variant, side, pad, model) for prompt in encoded]


def model_inputs(prompt: EncodedPrompt, variant: Variant, side: str, pad: int, model: PreTrainedModel) -> Inputs:
    """One encoded prompt as `model` is given it, padded on that side ("left", "right", "none") with that token."""
    real = len(prompt.token_ids)
    tokens = real if side == "none" else variant.pad_to
    positions = limits_of(model).positions
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
