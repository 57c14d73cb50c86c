"""The interpolated bigram against chains whose entropy is known, and counts by hand."""

from math import log

import numpy as np
import pytest
import torch

from headwise.analyses.working_heads.bigram import fit_bigram

TRANSITIONS = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.05, 0.05, 0.9]])


def chain(length: int, seed: int) -> torch.Tensor:
    draws, state, states = np.random.default_rng(seed).random(length), 0, []
    cumulated = TRANSITIONS.cumsum(1)
    for draw in draws:
        state = int(np.searchsorted(cumulated[state], draw))
        states.append(min(state, 2))
    return torch.tensor(states)


def entropy_rate() -> float:
    values, vectors = np.linalg.eig(TRANSITIONS.T)
    stationary = np.real(vectors[:, np.argmax(values.real)])
    stationary = stationary / stationary.sum()
    return float(-(stationary[:, None] * TRANSITIONS * np.log(TRANSITIONS)).sum())


def test_of_a_markov_chain_the_loss_is_its_entropy_rate() -> None:
    bigram = fit_bigram(chain(60_000, 1), 50, [], 60_000, 3)
    held_out = chain(40_000, 2)
    assert bigram.weight > 0.9
    assert bigram.loss(held_out[:-1], held_out[1:]) == pytest.approx(entropy_rate(), abs=0.02)


def test_of_independent_tokens_the_loss_is_their_entropy() -> None:
    generator = torch.Generator().manual_seed(3)
    stream, held_out = (torch.randint(4, (40_000,), generator=generator) for _ in range(2))
    bigram = fit_bigram(stream, 40, [], 40_000, 4)
    assert bigram.loss(held_out[:-1], held_out[1:]) == pytest.approx(log(4), abs=0.01)


def test_probabilities_of_each_token_sum_to_one() -> None:
    bigram = fit_bigram(torch.tensor([1, 2, 1, 3, 1, 2] * 20), 6, [0], 10**6, 5)
    for previous in range(5):  # 4 was never seen
        losses = [bigram.loss(torch.tensor([previous]), torch.tensor([each])) for each in range(5)]
        assert sum(np.exp(-np.array(losses))) == pytest.approx(1)


def test_counts_are_those_of_a_loop() -> None:
    stream = torch.tensor([1, 2, 1, 3, 1, 2, 2, 2, 1, 3] * 2)
    bigram = fit_bigram(stream, 10, [0], 10**6, 4)  # two excerpts: one is counted, one weighs
    text = stream[:10].tolist()
    pairs = list(zip([0, *text[:-1]], text, strict=True))
    weight = bigram.weight
    for previous, target in pairs:
        conditional = pairs.count((previous, target)) / sum(before == previous for before, _ in pairs)
        unigram = (text.count(target) + 1) / (len(text) + 4)
        expected = -log(weight * conditional + (1 - weight) * unigram)
        assert bigram.loss(torch.tensor([previous]), torch.tensor([target])) == pytest.approx(expected)
    assert bigram.tokens == 10


def test_as_many_tokens_are_counted_as_training_saw() -> None:
    assert fit_bigram(chain(50_000, 4), 100, [0], 9_000, 3).tokens == pytest.approx(9_000, rel=0.02)
    assert fit_bigram(chain(2_000, 4), 100, [0], 9_000, 3).tokens == pytest.approx(1_800)
    assert fit_bigram(chain(100, 4), 100, [0], 9_000, 3).tokens == 100
