"""What heads do: similarity of writes and of ablation profiles, against matrices written out and known answers."""

import numpy as np
import pytest
import torch
from models_examples import decoder, write_corpus, write_tokenizer

from headwise.analyses.stability.ablation import ablated_losses, ablated_token_losses
from headwise.analyses.stability.functions import (
    Functions,
    cka_of_heads,
    correlation_of_heads,
    profiles,
    similarities,
    writes,
)
from headwise.analyses.stability.heads import matched_stability
from headwise.analyses.stability.names import Measure, Pairing, Weights
from headwise.models.tokenizer import load_tokenizer
from headwise.models.zoo import build_decoder
from headwise.study.prompts import EncodedPrompt

LENGTHS = (9, 6, 7)
TOKENS = torch.arange(20)[None] + 5


def texts(seed, heads=3, features=4, lengths=LENGTHS):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(length, heads, features)) for length in lengths]


def direct_cka(one, two):
    """Debiased linear CKA from N×N matrices, by the sums of Song et al. (2012)."""
    n = len(one)

    def hsic(x, y):
        k, m = x @ x.T, y @ y.T
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        ones = np.ones(n)
        total = np.trace(k @ m) + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
        return total - 2 / (n - 2) * (ones @ k @ m @ ones)

    return hsic(one, two) / np.sqrt(hsic(one, one) * hsic(two, two))


def test_similarity_of_writes_is_cka_of_pooled_tokens():
    refits = [texts(seed) for seed in (1, 2)]
    found = similarities(refits, cka_of_heads)[Pairing.SAME]
    pooled = [np.concatenate(each) for each in refits]
    for one, head, two, other in np.ndindex(*found.shape):
        expected = direct_cka(pooled[one][:, head], pooled[two][:, other])
        assert found[one, head, two, other] == pytest.approx(expected, abs=1e-12)


def test_chance_reads_neighbours_in_length_cut_to_the_shorter_either_way():
    refits = [texts(seed, features=1) for seed in (1, 2)]
    found = similarities(refits, correlation_of_heads)[Pairing.OTHER]
    # Lengths 9, 6, 7: text 1 beside text 2, and text 2 beside text 0.
    neighbours = [(1, 2, 6), (2, 0, 7)]
    for one, head, two, other in np.ndindex(*found.shape):
        either = []
        for order in (neighbours, [(second, first, cut) for first, second, cut in neighbours]):
            x = np.concatenate([refits[one][first][:cut, head, 0] for first, _, cut in order])
            y = np.concatenate([refits[two][second][:cut, other, 0] for _, second, cut in order])
            either.append(np.corrcoef(x, y)[0, 1])
        assert found[one, head, two, other] == pytest.approx(np.mean(either), abs=1e-12)


def test_one_text_has_no_other():
    refits = [texts(seed, features=1, lengths=(8,)) for seed in (1, 2)]
    assert np.isnan(similarities(refits, correlation_of_heads)[Pairing.OTHER]).all()


@pytest.mark.parametrize(("measure", "features"), [(cka_of_heads, 4), (correlation_of_heads, 1)])
def test_the_same_heads_in_another_order_are_matched_at_1_and_others_near_chance(measure, features):
    first = texts(1, features=features, lengths=(200, 300))
    shuffled = [text[:, [2, 0, 1]] for text in first]
    found = similarities([first, shuffled], measure)[Pairing.SAME]
    layers = found.transpose(0, 2, 1, 3)[:, :, None]
    assert matched_stability(layers)[0, 1] == pytest.approx(1, abs=1e-12)
    independent = similarities([first, texts(2, features=features, lengths=(200, 300))], measure)
    for values in independent.values():
        assert np.abs(values[0, :, 1]).max() < 0.2


def test_a_turn_or_an_offset_of_what_a_head_writes_changes_nothing():
    one = np.concatenate(texts(3))
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    assert np.diagonal(cka_of_heads(one, 3 * one @ turn + 5)) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("measure", "features"), [(cka_of_heads, 4), (correlation_of_heads, 1)])
def test_a_head_that_does_the_same_at_every_token_is_like_no_other(measure, features):
    one = np.concatenate(texts(3, features=features))
    one[:, 1] = one[0, 1]
    found = measure(one, np.concatenate(texts(4, features=features)))
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    documents = write_corpus(tmp_path_factory.mktemp("corpus"))
    return load_tokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer"), documents))


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_writes_have_the_inner_products_of_what_each_head_adds_to_the_stream(tokenizer, architecture):
    model = build_decoder(decoder(architecture=architecture), tokenizer, 1).eval()
    prompts = [EncodedPrompt("a", TOKENS[0].tolist()), EncodedPrompt("b", TOKENS[0, :7].flip(0).tolist())]
    found = writes(model, prompts, None)
    if architecture == "llama":
        attention = model.model.layers[1].self_attn.o_proj
        matrix = attention.weight.T
    else:  # LayerNorm takes the mean over hidden units away
        attention = model.transformer.h[1].attn.c_proj
        matrix = attention.weight - attention.weight.mean(1, keepdim=True)
    taken = []
    attention.register_forward_pre_hook(lambda module, inputs: taken.append(inputs[0][0]))
    for text, prompt in enumerate(prompts):
        model(torch.tensor([prompt.token_ids]))
        for head in range(4):
            written = taken[text][:, 8 * head : 8 * head + 8] @ matrix[8 * head : 8 * head + 8]
            own = torch.from_numpy(found[1][text][:, head])
            torch.testing.assert_close(own @ own.T, written @ written.T, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_a_profile_sums_to_what_the_ablation_costs(tokenizer):
    model = build_decoder(decoder(), tokenizer, 1).eval()
    batch = (torch.stack([TOKENS[0, :-1], TOKENS[0, :-1].flip(0)]), torch.stack([TOKENS[0, 1:], TOKENS[0, 1:].flip(0)]))
    without, whole = ablated_token_losses(model, batch)
    layers = [0, 1]
    found = profiles(layers, [without - whole])
    losses, intact = ablated_losses(model, [batch])
    for layer in layers:
        costs = np.stack([text[..., 0].mean(0) for text in found[layer]])
        assert costs == pytest.approx((losses - intact)[layer].T.numpy(), abs=1e-9)


def test_rows_hold_every_pair_of_heads_by_layer():
    functions = Functions()
    for seed in (1, 2):
        functions.add(Weights.TRAINED, Measure.WRITES, {3: texts(seed), 7: texts(10 + seed)})
    rows = functions.rows()
    assert len(rows) == 2 * 2 * (2 * 3) ** 2  # pairings, layers, heads of both refits
    expected = similarities([texts(11), texts(12)], cka_of_heads)[Pairing.SAME][0, 2, 1, 0]
    (row,) = rows[
        rows["layer"].eq(7)
        & rows["pairing"].eq(Pairing.SAME)
        & rows["refit"].eq(0)
        & rows["head"].eq(2)
        & rows["other"].eq(1)
        & rows["other_head"].eq(0)
    ].itertuples()
    assert row.value == expected
    assert Functions().rows().empty
