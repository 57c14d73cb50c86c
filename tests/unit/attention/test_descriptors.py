"""Head descriptors: closed forms, loops from the definitions, and a model that has learned induction."""

import json

import numpy as np
import pytest
import torch
from attention_examples import (
    layer_attention,
    random_attention,
    tiny_model,
    word_tokenizer,
)
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from headwise.attention.capture import capturing
from headwise.attention.descriptors import (
    DESCRIPTORS,
    INDUCTION_PERIOD,
    INDUCTION_SEQUENCES,
    DescriptorMeans,
    descriptors,
    induction_score,
    measure_induction,
    repeated_tokens,
)
from headwise.attention.layer_statistics import statistics_of


def named(values: Tensor) -> dict[str, float]:
    return dict(zip(DESCRIPTORS, values.tolist(), strict=True))


def heads_of_known_behaviour(tokens: int) -> Tensor:
    """Three heads: previous token, itself, and uniform over the past."""
    previous = torch.diag(torch.ones(tokens - 1), -1)
    previous[0, 0] = 1
    uniform = torch.ones(tokens, tokens).tril()
    return torch.stack([previous, torch.eye(tokens), uniform / uniform.sum(-1, keepdim=True)])


def test_heads_of_known_behaviour():
    tokens = 9
    values = descriptors(layer_attention(heads_of_known_behaviour(tokens)))
    previous, itself, uniform = map(named, values)
    assert previous == pytest.approx(
        dict(previous_token=1, self_attention=0, first_token=1 / 8, distance_tokens=1, effective_keys=1)
    )
    assert itself == pytest.approx(
        dict(previous_token=0, self_attention=1, first_token=0, distance_tokens=0, effective_keys=1)
    )
    # Rows 1 to 8 have 2 to 9 keys; their mean distance is (number of keys - 1) / 2.
    share = np.mean([1 / keys for keys in range(2, 10)])
    assert uniform == pytest.approx(
        dict(
            previous_token=share,
            self_attention=share,
            first_token=share,
            distance_tokens=np.mean([q / 2 for q in range(1, 9)]),
            effective_keys=np.mean(range(2, 10)),
        ),
        abs=1e-6,
    )


@pytest.mark.parametrize("support", ["causal", "full"])
def test_descriptors_by_loops(support):
    weights = random_attention(3, 7, support, seed=1)
    values = descriptors(layer_attention(weights, support))
    for head in range(3):
        rows = [weights[head, query].double().numpy() for query in range(7)]
        queries = range(1, 7)
        expected = dict(
            previous_token=np.mean([rows[q][q - 1] for q in queries]),
            self_attention=np.mean([rows[q][q] for q in queries]),
            first_token=np.mean([rows[q][0] for q in queries]),
            distance_tokens=np.mean([sum(abs(q - k) * rows[q][k] for k in range(7)) for q in queries]),
            effective_keys=np.mean([np.prod([share**-share for share in rows[q] if share > 0]) for q in queries]),
        )
        assert named(values[head]) == pytest.approx(expected, rel=1e-9)


def test_means_weigh_prompts_equally_and_pass_over_single_tokens():
    layers = [layer_attention(random_attention(2, tokens, "causal", seed=tokens), layer=4) for tokens in (3, 9, 1)]
    means = DescriptorMeans()
    for layer in layers:
        means.add(layer.layer, statistics_of(layer, ()))
    expected = (descriptors(layers[0]) + descriptors(layers[1])) / 2
    torch.testing.assert_close(means.of_layer(4), expected)


def test_without_a_prompt_of_two_tokens_there_are_no_means():
    means = DescriptorMeans()
    means.add(0, statistics_of(layer_attention(torch.ones(2, 1, 1)), ()))
    assert means.of_layer(0).isnan().all()


def test_rows_with_nothing_beside_the_first_key_are_counted_per_head():
    """Of 4 and 2 rows after the first, head 0 leaves out 2 and 1; row 0 does not count."""
    long, short = torch.zeros(2, 5, 5), torch.zeros(2, 3, 3)
    for weights in (long, short):
        weights[1] = torch.eye(weights.shape[-1])
        weights[0, :, 0] = 1
    for row, rest in ((1, 1e-3), (2, 2e-6), (3, 1e-7)):
        long[0, row, :2] = torch.tensor([1 - rest, rest])
    short[0, 1, :2] = torch.tensor([0.5, 0.5])
    means = DescriptorMeans()
    for weights in (long, short, torch.ones(2, 1, 1)):
        means.add(0, statistics_of(layer_attention(weights), ()))
    left_out, rows = means.left_out(0)
    assert (left_out.tolist(), rows) == ([3, 0], 6)


def test_perfect_induction_scores_one_and_its_neighbours_nothing():
    period = 5
    for offset, expected in ((period - 1, 1), (period, 0), (period - 2, 0)):
        weights = torch.eye(2 * period)
        for query in range(period, 2 * period):
            weights[query] = torch.eye(2 * period)[query - offset]
        assert induction_score(weights[None], period).tolist() == [expected]


def test_induction_score_by_loops():
    period = 6
    weights = random_attention(3, 2 * period, "causal", seed=2)
    for head, score in enumerate(induction_score(weights, period)):
        attended = [weights[head, i, i - period + 1].item() for i in range(period, 2 * period)]
        assert score.item() == pytest.approx(np.mean(attended), rel=1e-9)


def test_repeated_tokens_come_twice_and_from_the_generator():
    ordinary = set(range(10, 30))
    ids = repeated_tokens(ordinary, 40, 20, np.random.default_rng(1))
    assert ids[:20] == ids[20:]
    assert set(ids[:20]) == ordinary
    assert repeated_tokens(ordinary, 40, 20, np.random.default_rng(1)) == ids
    assert repeated_tokens(ordinary, 40, 20, np.random.default_rng(2)) != ids


def test_a_token_that_is_special_elsewhere_changes_only_itself():
    ordinary = set(range(3, 500))
    whole = repeated_tokens(ordinary, 500, 24, np.random.default_rng(1))[:24]
    for token in (whole[0], whole[7], next(iter(ordinary - set(whole)))):
        without = repeated_tokens(ordinary - {token}, 500, 24, np.random.default_rng(1))[:24]
        kept = [each for each in whole if each != token]
        assert without[: len(kept)] == kept


def declared_special(tokenizer):
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|tool|>"]})


def extended(tokenizer):
    tokenizer.add_tokens(["<tool_call>", "</tool_call>"])


def padded_with_a_word_that_is_not_drawn(tokenizer):
    generator = np.random.default_rng(3)
    drawn = {token for _ in range(4) for token in repeated_tokens(range(3, 97), 97, INDUCTION_PERIOD, generator)}
    tokenizer.pad_token = f"w{min(set(range(3, 97)) - drawn)}"


def more_words(tokenizer):
    """Words of the tokenizer's own, beyond the ids that are drawn from."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["model"]["vocab"] |= {f"w{number}": number for number in range(97, 110)}
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(content))


@pytest.mark.parametrize("change", [declared_special, extended, padded_with_a_word_that_is_not_drawn, more_words])
@torch.no_grad()
def test_what_is_added_to_a_vocabulary_moves_no_score(change, monkeypatch):
    if change is more_words:
        monkeypatch.setattr("headwise.attention.descriptors.INDUCTION_TOKENS", 97)
    model, tokenizer = tiny_model("llama", num_key_value_heads=2), word_tokenizer()
    before = measure_induction(model, tokenizer, np.random.default_rng(3))
    change(tokenizer)
    model.resize_token_embeddings(112)
    after = measure_induction(model, tokenizer, np.random.default_rng(3))
    for layer, scores in before.scores.items():
        torch.testing.assert_close(after.scores[layer], scores, rtol=0, atol=1e-12)


def test_measured_induction_is_that_of_the_drawn_sequences():
    model = tiny_model("llama", num_key_value_heads=2)
    generator = np.random.default_rng(3)
    ordinary = range(3, 97)  # the first three tokens are special
    sequences = [repeated_tokens(ordinary, 97, INDUCTION_PERIOD, generator) for _ in range(INDUCTION_SEQUENCES)]
    with torch.no_grad():
        induction = measure_induction(model, word_tokenizer(), np.random.default_rng(3))
        reference = [model(input_ids=torch.tensor([ids]), output_attentions=True).attentions for ids in sequences]
    assert (induction.period, induction.support) == (INDUCTION_PERIOD, "causal")
    for layer in range(3):
        scores = [induction_score(attentions[layer][0], INDUCTION_PERIOD) for attentions in reference]
        torch.testing.assert_close(induction.scores[layer], torch.stack(scores).mean(0))


@pytest.mark.parametrize("limit", [dict(max_position_embeddings=20), dict(vocab_size=13)])
def test_the_period_fits_the_model(limit):
    model = tiny_model("llama", num_key_value_heads=2, **limit)
    with torch.no_grad():
        assert measure_induction(model, word_tokenizer(), np.random.default_rng(0)).period == 10


@pytest.mark.slow
def test_a_model_that_learned_to_repeat_has_an_induction_head_fed_by_a_previous_token_head():
    """Two layers on repeated random tokens: a circuit that is known to form (Olsson et al. 2022)."""
    symbols, seed = 64, 0
    config = LlamaConfig(
        vocab_size=symbols,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for _ in range(600):
        period = int(torch.randint(16, 33, (), generator=generator))
        once = torch.randint(0, symbols, (32, period), generator=generator)
        ids = torch.cat([once, once], dim=1)
        logits = model(input_ids=ids).logits[:, period - 1 : -1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, period:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    means, scores = DescriptorMeans(), {}
    ids = repeated_tokens(range(symbols), symbols, INDUCTION_PERIOD, np.random.default_rng(seed))

    def receive(attention):
        means.add(attention.layer, statistics_of(attention, ()))
        scores[attention.layer] = induction_score(attention.weights, INDUCTION_PERIOD)

    with torch.no_grad(), capturing(model.eval(), receive):
        model(input_ids=torch.tensor([ids]))
    assert scores[1].max() > 0.5
    assert scores[0].max() < 0.1
    previous_token = DESCRIPTORS.index("previous_token")
    assert means.of_layer(0)[:, previous_token].max() > 0.5
    assert means.of_layer(1)[:, previous_token].max() < 0.1
