"""Head descriptors as the field uses them: where a head looks, how widely, and whether it does induction.

Previous-token and induction heads: Olsson et al. (2022), "In-context learning and induction heads". Attention
to the first token as a sink: Xiao et al. (2023). Effective number of keys: the exponential of a row's entropy
(Hill 1973, order 1).
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.attention.capture import LayerAttention, Support, capturing
from headwise.attention.layer_statistics import LayerStatistics, statistics_of
from headwise.models.encoding import limits_of
from headwise.models.load import input_device

DESCRIPTORS = ("previous_token", "self_attention", "first_token", "distance_tokens", "effective_keys")
INDUCTION_PERIOD = 24
INDUCTION_SEQUENCES = 4
# Random tokens are drawn below this id, which all but small vocabularies reach: what lies above changes no draw.
INDUCTION_TOKENS = 8192


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
        """The means of a layer over its prompts: float64 (heads, 5), NaN if no prompt has two tokens."""
        return self._sums[layer] / self._prompts[layer]

    def left_out(self, layer: int) -> tuple[Tensor, int]:
        """Query rows q >= 1 of all prompts that are left out where key 0 is removed, int64 (heads,); and all of them.

        Row 0 of a causal model, whose only key is key 0, is always left out.
        """
        return self._left_out[layer], self._rows[layer]


def repeated_tokens(ordinary: Collection[int], bound: int, period: int, generator: np.random.Generator) -> list[int]:
    """`period` different random token ids out of `ordinary`, twice in the same order: 2 x period ids.

    All ids below `bound` are shuffled, and the first that are ordinary taken: a token that is so in one tokenizer and
    not in another changes nothing else of what is drawn.
    """
    shuffled = generator.permutation(bound).tolist()
    once: list[int] = list(islice((token for token in shuffled if token in ordinary), period))
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

    A model and its descendant read the same tokens, also where words were added to the descendant's vocabulary or
    special tokens declared: tokens are drawn below a fixed id, out of the words that the tokenizer was trained with.

    The model attends as `capturing` asks for. The period is `INDUCTION_PERIOD`, or less where the model has too few
    positions or tokens for it.
    """
    limits, ordinary = limits_of(model), _ordinary_tokens(tokenizer)
    bound = min(INDUCTION_TOKENS, max(ordinary) + 1, limits.tokens or INDUCTION_TOKENS)
    period = min(INDUCTION_PERIOD, sum(token < bound for token in ordinary))
    if limits.positions is not None:
        period = min(period, limits.positions // 2)
    sums: dict[int, Tensor] = {}
    supports: set[Support] = set()

    def receive(attention: LayerAttention) -> None:
        score = induction_score(attention.weights, period)
        sums[attention.layer] = sums.get(attention.layer, 0) + score
        supports.add(attention.support)

    with capturing(model, receive):
        for _ in range(INDUCTION_SEQUENCES):
            token_ids = repeated_tokens(ordinary, bound, period, generator)
            model(input_ids=torch.tensor([token_ids], device=input_device(model)))
    scores = {layer: total / INDUCTION_SEQUENCES for layer, total in sorted(sums.items())}
    # Where layers differ, extraction refuses the model at its first prompt.
    return Induction(scores, period, "causal" if "causal" in supports else "full")


def _ordinary_tokens(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids of the words that a tokenizer was trained with: neither special nor added to the vocabulary afterwards."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = tokenizer.get_vocab() if backend is None else backend.get_vocab(with_added_tokens=False)
    declared = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    special = declared | set(tokenizer.all_special_ids)
    # Some tokenizers have no words but those that were added.
    return set(words.values()) - special or set(tokenizer.get_vocab().values()) - special
