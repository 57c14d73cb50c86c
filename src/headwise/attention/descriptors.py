"""Head descriptors as the field uses them: where a head looks, how widely, and whether it does induction.

Previous-token and induction heads: Olsson et al. (2022), "In-context learning and induction heads". Attention
to the first token as a sink: Xiao et al. (2023). Effective number of keys: the exponential of a row's entropy
(Hill 1973, order 1).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.attention.capture import LayerAttention, Support, capturing
from headwise.attention.reduce import LayerStatistics, statistics_of
from headwise.models.encoding import limits_of
from headwise.models.load import input_device

DESCRIPTORS = ("previous_token", "self_attention", "first_token", "distance_tokens", "effective_keys")
INDUCTION_PERIOD = 24
INDUCTION_SEQUENCES = 4


def descriptors(attention: LayerAttention) -> Tensor:
    """Descriptors of a layer's heads on one prompt: float64 (heads, 5), columns as in `DESCRIPTORS`.

    Means over the query rows q >= 1: row 0 of a causal model has a single key. NaN on a prompt of one token.

    previous_token: attention to key q - 1.
    self_attention: attention to key q.
    first_token: attention to key 0.
    distance_tokens: mean of |q - k| under the row, in tokens.
    effective_keys: exp of the row's entropy, from 1 to the number of keys.
    """
    return statistics_of(attention, ()).descriptors


class DescriptorMeans:
    """Means over prompts of the descriptors of every layer, kept as running sums; and how many rows are left out where
    key 0 is removed."""

    def __init__(self) -> None:
        self._sums: dict[int, Tensor] = {}
        self._prompts: Counter[int] = Counter()
        self._left_out: dict[int, Tensor] = {}
        self._rows: Counter[int] = Counter()

    def add(self, layer: int, statistics: LayerStatistics) -> None:
        """Count in a layer on one prompt. A prompt of one token says nothing."""
        values = statistics.descriptors.nan_to_num(0)
        self._sums[layer] = self._sums.get(layer, 0) + values
        self._prompts[layer] += statistics.tokens > 1
        left_out = statistics.heads["dropped"].row_entropy_nats[:, 1:].isnan().sum(-1)
        self._left_out[layer] = self._left_out.get(layer, 0) + left_out
        self._rows[layer] += statistics.tokens - 1

    def of_layer(self, layer: int) -> Tensor:
        """The means of a layer that was counted in: float64 (heads, 5), NaN if no prompt has two tokens."""
        return self._sums[layer] / self._prompts[layer]

    def left_out(self, layer: int) -> tuple[Tensor, int]:
        """Query rows q >= 1 of all prompts that are left out where key 0 is removed, int64 (heads,); and all of them.

        Row 0 of a causal model, whose only key is key 0, is always left out.
        """
        return self._left_out[layer], self._rows[layer]


def repeated_tokens(vocabulary: Sequence[int], period: int, generator: np.random.Generator) -> list[int]:
    """`period` different random token ids from `vocabulary`, twice in the same order: 2 x period ids."""
    once: list[int] = generator.choice(np.asarray(vocabulary), size=period, replace=False).tolist()
    return once + once


def induction_score(weights: Tensor, period: int) -> Tensor:
    """Attention from the second half of a repeated sequence to the token that followed last time.

    weights: (heads, 2 x period, 2 x period) on `repeated_tokens`. Returns float64 (heads,), within 0..1: the
    mean, over query positions i of the second half, of the attention from i to i - period + 1.
    """
    return weights.double().diagonal(1 - period, 1, 2)[:, 1:].mean(-1)


@dataclass(frozen=True)
class Induction:
    """Induction scores of a model, float64 (heads,) by layer, their period, and the attention's support."""

    scores: dict[int, Tensor]
    period: int
    support: Support


def measure_induction(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, generator: np.random.Generator
) -> Induction:
    """Mean induction scores over a few random sequences that `generator` draws, without special tokens.

    The model attends as `capturing` asks for. The period is `INDUCTION_PERIOD`, or less where the model has
    too few positions or tokens for it.
    """
    vocabulary = _ordinary_tokens(model, tokenizer)
    positions = limits_of(model).positions
    period = min(INDUCTION_PERIOD, len(vocabulary), positions // 2 if positions else INDUCTION_PERIOD)
    sums: dict[int, Tensor] = {}
    supports: set[Support] = set()

    def receive(attention: LayerAttention) -> None:
        score = induction_score(attention.weights, period)
        sums[attention.layer] = sums.get(attention.layer, 0) + score
        supports.add(attention.support)

    with capturing(model, receive):
        for _ in range(INDUCTION_SEQUENCES):
            token_ids = repeated_tokens(vocabulary, period, generator)
            model(input_ids=torch.tensor([token_ids], device=input_device(model)))
    scores = {layer: total / INDUCTION_SEQUENCES for layer, total in sorted(sums.items())}
    # Where layers differ, extraction refuses the model at its first prompt.
    return Induction(scores, period, "causal" if "causal" in supports else "full")


def _ordinary_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the tokens that are not special and that the model has an embedding of, in ascending order."""
    ids = set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)
    return sorted(index for index in ids if index < model.config.get_text_config().vocab_size)
