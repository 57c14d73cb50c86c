"""A bigram interpolated with token frequencies: what a model reaches that knows the last token alone."""

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from headwise.models.excerpts import spread_excerpts

# Of ten excerpts of the train text, one fits the weight of the interpolation and nothing else.
APART = 10
MOST_ROUNDS, CLOSE_ENOUGH = 200, 1e-7
# Text of billions of tokens would take the memory of a node to count.
MOST_TOKENS = 20_000_000
# Each of the two is some use to begin with.
FIRST_WEIGHT = 0.5


@dataclass(frozen=True)
class Bigram:
    """P(w | v) = λ count(v, w) / count(v) + (1 − λ) (count(w) + 1) / (tokens + vocabulary) (Jelinek and Mercer 1980).

    Token frequencies alone speak after a token that the text did not have. λ maximises the likelihood of text that was
    not counted, by expectation maximisation; within 0 to 1.

    keys    int64 (pairs,), ascending: v × vocabulary + w of every pair of tokens of the text
    counts  float64 (pairs,): how often it has that pair
    before  float64 (vocabulary,): how often each token is followed by another
    unigram float64 (vocabulary,): smoothed token frequencies, sum 1
    tokens  targets that were counted
    """

    keys: Tensor
    counts: Tensor
    before: Tensor
    unigram: Tensor
    tokens: int
    weight: float

    def loss(self, previous: Tensor, targets: Tensor) -> float:
        """Mean cross-entropy of `targets` after `previous`, int64 of one shape, nats per token."""
        conditional, unigram, known = _probabilities(self, previous.flatten(), targets.flatten())
        mixed = torch.where(known, self.weight * conditional + (1 - self.weight) * unigram, unigram)
        return float(-mixed.log().mean())


def fit_bigram(stream: Tensor, excerpt: int, first: list[int], seen: int, vocabulary: int) -> Bigram:
    """Count as many tokens as training saw, in excerpts that are evenly spread over the train text (`stream`, int64).

    excerpt  tokens per excerpt. first  what each begins with. seen  tokens that training saw; where the text has fewer,
    all of it is counted, and MOST_TOKENS at most.
    """
    seen = min(seen, MOST_TOKENS)
    inputs, targets = spread_excerpts(stream, excerpt, first, ceil(seen / excerpt * APART / (APART - 1)))
    previous = inputs[:, -targets.shape[1] :]
    apart = torch.arange(len(targets)) % APART == APART - 1
    if not apart.any():  # a text of a few excerpts
        apart[-1] = len(apart) > 1
    counted = _counted(previous[~apart].flatten(), targets[~apart].flatten(), vocabulary)
    return _weighted(counted, previous[apart].flatten(), targets[apart].flatten())


def _counted(previous: Tensor, targets: Tensor, vocabulary: int) -> Bigram:
    keys, counts = torch.unique(previous * vocabulary + targets, return_counts=True)
    before = torch.bincount(previous, minlength=vocabulary).double()
    smoothed = torch.bincount(targets, minlength=vocabulary).double() + 1
    return Bigram(keys, counts.double(), before, smoothed / smoothed.sum(), targets.numel(), FIRST_WEIGHT)


def _weighted(bigram: Bigram, previous: Tensor, targets: Tensor) -> Bigram:
    conditional, unigram, known = _probabilities(bigram, previous, targets)
    conditional, unigram, weight = conditional[known], unigram[known], FIRST_WEIGHT
    for _ in range(MOST_ROUNDS if len(conditional) else 0):
        before, share = weight, weight * conditional
        weight = float((share / (share + (1 - weight) * unigram)).mean())
        if abs(weight - before) < CLOSE_ENOUGH:
            break
    return Bigram(bigram.keys, bigram.counts, bigram.before, bigram.unigram, bigram.tokens, weight)


def _probabilities(bigram: Bigram, previous: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each pair: count(v, w) / count(v), the frequency of w, both float64, and whether v was counted, bool."""
    wanted = previous * len(bigram.unigram) + targets
    places = torch.searchsorted(bigram.keys, wanted).clamp(max=len(bigram.keys) - 1)
    counts = torch.where(bigram.keys[places] == wanted, bigram.counts[places], 0.0)
    before = bigram.before[previous]
    return counts / before.clamp(min=1), bigram.unigram[targets], before > 0
