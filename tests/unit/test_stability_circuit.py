"""A known circuit: two layers, attention alone, trained on random tokens that repeat (Olsson et al. 2022)."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from headwise.attention.capture import capturing
from headwise.attention.descriptors import descriptors, induction_score
from headwise.attention.store import TensorWriter
from headwise.models.optimization import adamw, descend, learning_rate_at, one_thread
from headwise.models.zoo import build_decoder
from headwise.stability.ablation import ablated_losses
from headwise.stability.cosines import SAME, View
from headwise.stability.heads import matched_stability
from headwise.stability.probe import random_model
from headwise.study.training import Decoder

from stability_examples import compare  # isort: skip

SYMBOLS, PERIOD, STEPS = 64, 20, 450
SHAPE = Decoder(layers=2, hidden=64, heads=2, head_width=32, feed_forward=0, positions=64)


class Symbols:
    """As much of a tokenizer as building a decoder needs."""

    bos_token_id = eos_token_id = pad_token_id = 0

    def __len__(self):
        return SYMBOLS


def repeated(count, period, generator):
    """Different random symbols, twice in the same order: (count, 2 × period)."""
    once = torch.rand(count, SYMBOLS, generator=generator).argsort(1)[:, :period]
    return torch.cat([once, once], dim=1)


@one_thread()
def train(seed):
    """A model that predicts the repeat; periods vary, so that no position tells the answer."""
    model = build_decoder(SHAPE, Symbols(), seed).train()
    optimizer, generator = adamw(model, 0.0), torch.Generator().manual_seed(seed)
    for step in range(STEPS):
        period = int(torch.randint(14, 23, (1,), generator=generator))
        tokens = repeated(24, period, generator)
        logits = model(input_ids=tokens, use_cache=False).logits[:, period:-1]
        loss = cross_entropy(logits.flatten(0, 1), tokens[:, period + 1 :].flatten())
        descend(model, optimizer, loss, learning_rate_at(step, STEPS, 30, 6e-3), step)
    return model.eval()


@pytest.mark.slow
def test_the_circuit_is_found_needed_and_the_same_in_every_refit(tmp_path):
    models = {"seed1": train(1), "seed2": train(2)}
    models |= {f"random{seed}": random_model(models["seed1"], seed) for seed in (1, 2)}
    tokens = repeated(8, PERIOD, torch.Generator().manual_seed(9))
    predictable = tokens[:, 1:].clone()
    predictable[
        :, :PERIOD
    ] = -100  # not counted: nothing tells these symbols, and confident guesses at them cost at random
    found = {}
    for name, model in models.items():
        scores = {0: [], 1: []}
        with TensorWriter.open(tmp_path / f"{name}.parquet", "causal", {"tokens_digest": "t"}) as writer:
            for number, row in enumerate(tokens):

                def receive(attention, writer=writer, number=number, scores=scores):
                    previous = descriptors(attention)[:, 0]
                    scores[attention.layer].append(torch.stack([previous, induction_score(attention.weights, PERIOD)]))
                    writer.add(f"p{number}", attention.layer, attention.weights)

                with capturing(model, receive), torch.no_grad():
                    model(row[None])
        found[name] = {layer: torch.stack(values).mean(0).numpy() for layer, values in scores.items()}

    chance = 1 / PERIOD
    for name in ("seed1", "seed2"):
        previous, induction = 0, 1
        assert found[name][0][previous].max() > 3 * chance  # layer 0 looks at the token before
        assert found[name][1][induction].max() > 3 * chance  # layer 1 at what followed last time
        assert found[name][0][induction].max() < chance
        losses, whole = ablated_losses(models[name], [(tokens[:, :-1], predictable)], mean=False)
        costs = (losses.mean(-1) - whole.mean()).numpy()
        assert (costs.max(axis=1) > 0.3).all(), costs  # nats per token, half of which are not counted

    def stability(*names):
        cosines = compare([tmp_path / f"{name}.parquet" for name in names])
        return np.nanmean(matched_stability(cosines.same_layer[View("cosine_row_centred"), SAME]))

    assert stability("seed1", "seed2") > stability("random1", "random2") + 0.3
