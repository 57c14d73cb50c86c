"""Statistics of heads and of pairs of heads against loops written from their definitions."""

import math
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from attention_examples import layer_attention, peak_of, random_attention
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr, xlogy
from scipy.stats import entropy, pearsonr

from headwise.attention.capture import LayerAttention
from headwise.attention.cka import output_cka
from headwise.attention.descriptors import descriptors
from headwise.attention.divergence import SMALLEST_MASS
from headwise.attention.layer_statistics import head_statistics, pair_columns, pair_statistics
from headwise.attention.sinks import SINKS

ROW_STATISTICS = ["hellinger", "js_divergence", "pattern_correlation"]
EVERYTHING = [*ROW_STATISTICS, "output_cka"]
HEADS, TOKENS = 4, 7


def with_sink_rows(weights: torch.Tensor) -> torch.Tensor:
    """Some rows of some heads attend to key 0 alone, or nearly so."""
    weights = weights.clone()
    weights[1, 3] = torch.eye(weights.shape[-1])[0]
    weights[2, 3:5] = torch.eye(weights.shape[-1])[0]
    weights[3, 5] = torch.eye(weights.shape[-1])[0] * (1 - 1e-7) + torch.eye(weights.shape[-1])[4] * 1e-7
    return weights


def rows_of(weights: torch.Tensor, sink: str) -> list[dict[int, np.ndarray]]:
    """For each head the distributions over keys that are not left out, by query, from the definition."""
    heads = []
    for head in weights.double().numpy():
        rows = {}
        for query, row in enumerate(head):
            if sink == "dropped":
                mass = row[1:].sum()
                if mass < SMALLEST_MASS:
                    continue
                row = np.concatenate([[0.0], row[1:] / mass])
            rows[query] = row
        heads.append(rows)
    return heads


def examples() -> list[tuple[LayerAttention, str]]:
    return [
        (layer_attention(change(random_attention(HEADS, TOKENS, support, seed=1)), support), sink)
        for support in ("causal", "full")
        for change in (torch.clone, with_sink_rows)
        for sink in SINKS
    ]


@pytest.fixture(params=range(8))
def example(request) -> tuple[LayerAttention, str]:
    return examples()[request.param]


def test_head_statistics_by_loops(example):
    layer, sink = example
    statistics = head_statistics(layer.weights, sink)
    for head, rows in enumerate(rows_of(layer.weights, sink)):
        assert statistics.rows_left_out[head] == TOKENS - len(rows)
        expected = [entropy(rows[query]) if query in rows else math.nan for query in range(TOKENS)]
        np.testing.assert_allclose(statistics.row_entropy_nats[head], expected, atol=1e-7)
        np.testing.assert_allclose(statistics.received[head], np.mean(list(rows.values()), axis=0), atol=1e-12)
    if sink == "dropped":
        assert (statistics.received[:, 0] == 0).all()
        assert statistics.received.sum(-1) == pytest.approx(1, abs=1e-12)


def test_row_divergences_by_loops(example):
    layer, sink = example
    statistics = pair_statistics(layer, ROW_STATISTICS, sink)
    rows = rows_of(layer.weights, sink)
    for pair, (i, j) in enumerate(combinations(range(HEADS), 2)):
        queries = [query for query in rows[i] if query in rows[j] and query >= 1]
        overlaps = [np.sqrt(rows[i][query] * rows[j][query]).sum() for query in queries]
        divergences = [jensenshannon(rows[i][query], rows[j][query], base=2) ** 2 for query in queries]
        assert statistics["hellinger"][pair] == pytest.approx(1 - np.mean(overlaps), abs=1e-7)
        assert statistics["js_divergence"][pair] == pytest.approx(np.mean(divergences), abs=1e-7)


def test_pattern_correlation_by_loops(example):
    layer, sink = example
    statistics = pair_statistics(layer, ["pattern_correlation"], sink)
    rows = rows_of(layer.weights, sink)
    first_key = 0 if sink == "kept" else 1
    for pair, (i, j) in enumerate(combinations(range(HEADS), 2)):
        queries = [query for query in rows[i] if query in rows[j]]
        for name, last_key in (
            ("pattern_correlation", lambda query: query if layer.support == "causal" else TOKENS - 1),
            ("pattern_correlation_full", lambda query: TOKENS - 1),
        ):
            entries = [(query, key) for query in queries for key in range(first_key, last_key(query) + 1)]
            expected = pearsonr([rows[i][q][k] for q, k in entries], [rows[j][q][k] for q, k in entries])[0]
            assert statistics[name][pair] == pytest.approx(expected, abs=1e-10)


def unbiased_hsic(first: np.ndarray, second: np.ndarray) -> float:
    """The U-statistic of Song et al. (2012): a mean over all ordered quadruples of different samples."""
    quadruples = list(permutations(range(len(first)), 4))
    return np.mean([first[i, j] * (second[i, j] + second[q, r] - 2 * second[i, q]) for i, j, q, r in quadruples]).item()


def test_output_cka_is_the_ratio_of_u_statistics(example):
    layer, _ = example
    cka = pair_statistics(layer, ["output_cka"], "kept")["output_cka"]
    outputs, projection = layer.head_outputs.double().numpy(), layer.output_projection.double().numpy()
    writes = [outputs[:, head] @ projection[head] for head in range(HEADS)]
    grams = [write @ write.T for write in writes]
    for pair, (i, j) in enumerate(combinations(range(HEADS), 2)):
        scale = unbiased_hsic(grams[i], grams[i]) * unbiased_hsic(grams[j], grams[j])
        assert cka[pair] == pytest.approx(unbiased_hsic(grams[i], grams[j]) / math.sqrt(scale), abs=1e-10)


def test_output_cka_of_unrelated_heads_is_zero_on_average():
    generator = torch.Generator().manual_seed(0)
    identity = torch.eye(20).repeat(2, 1, 1)
    values = [output_cka(torch.randn(10, 2, 20, generator=generator), identity) for _ in range(300)]
    # The biased estimator gives about .7 here: 20 features from 10 samples.
    assert torch.cat(values).mean().abs() < 3 * torch.cat(values).std() / math.sqrt(300)


def test_output_cka_ignores_rotation_scale_and_offset_of_the_writes():
    layer = layer_attention(random_attention(HEADS, TOKENS, "causal", seed=1))
    expected = output_cka(layer.head_outputs, layer.output_projection)
    rotation = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(1)))[0]
    assert output_cka(layer.head_outputs, layer.output_projection @ rotation * 3) == pytest.approx(expected, abs=1e-5)
    identity = torch.eye(5).repeat(HEADS, 1, 1)
    moved = layer.head_outputs + torch.arange(5.0)
    assert output_cka(moved, identity) == pytest.approx(output_cka(layer.head_outputs, identity), abs=1e-5)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("support", ["causal", "full"])
def test_cloned_heads_do_not_differ(support, sink):
    clone = random_attention(1, 50, support, seed=2)
    layer = layer_attention(clone.repeat(5, 1, 1), support)
    outputs, projection = layer.head_outputs[:, :1], layer.output_projection[:1]
    layer = LayerAttention(0, layer.weights, outputs.repeat(1, 5, 1), projection.repeat(5, 1, 1), support)
    statistics = pair_statistics(layer, EVERYTHING, sink)
    for name, values in statistics.items():
        expected = 0 if name in ("hellinger", "js_divergence") else 1
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12, err_msg=name)


def test_heads_that_look_at_different_keys_differ_most():
    tokens = 12
    even, odd = torch.zeros(2, tokens, tokens).unbind()
    for query in range(tokens):
        even[query, 0 : query + 1 : 2] = 1
        odd[query, 1 : query + 1 : 2] = 1
    weights = torch.stack([even / even.sum(-1, keepdim=True), odd / odd.sum(-1, keepdim=True).clamp(min=1)])
    weights[1, 0, 0] = 1  # the only key of row 0, which therefore is not compared
    statistics = pair_statistics(layer_attention(weights), ["hellinger", "js_divergence"], "kept")
    assert statistics["hellinger"].item() == pytest.approx(1, abs=1e-7)
    assert statistics["js_divergence"].item() == pytest.approx(1, abs=1e-7)


@settings(max_examples=30, deadline=None)
@given(
    order=st.permutations(range(5)),
    tokens=st.integers(1, 9),
    support=st.sampled_from(["causal", "full"]),
    sink=st.sampled_from(SINKS),
    seed=st.integers(0, 1000),
)
def test_head_order_moves_values_and_changes_none(order, tokens, support, sink, seed):
    layer = layer_attention(random_attention(5, tokens, support, seed), support, seed=seed)
    permuted = LayerAttention(
        layer=0,
        weights=layer.weights[order],
        head_outputs=layer.head_outputs[:, order],
        output_projection=layer.output_projection[order],
        support=support,
    )
    before = pair_statistics(layer, EVERYTHING, sink)
    after = pair_statistics(permuted, EVERYTHING, sink)
    pairs = list(combinations(range(5), 2))
    moved = [pairs.index(tuple(sorted((order[i], order[j])))) for i, j in pairs]
    for name in before:
        # Pearson magnifies the rounding of nearly constant patterns.
        np.testing.assert_allclose(after[name], before[name][moved], rtol=0, atol=1e-9, err_msg=name)


@settings(max_examples=50, deadline=None)
@given(
    tokens=st.integers(2, 12),
    support=st.sampled_from(["causal", "full"]),
    sharpness=st.sampled_from([0.0, 1.0, 30.0]),
    sink=st.sampled_from(SINKS),
    seed=st.integers(0, 1000),
)
def test_values_stay_in_their_range(tokens, support, sharpness, sink, seed):
    layer = layer_attention(random_attention(3, tokens, support, seed, sharpness), support)
    statistics = pair_statistics(layer, EVERYTHING, sink)
    for name, values in statistics.items():
        lowest = 0 if name in ("hellinger", "js_divergence") else -1
        defined = values[~values.isnan()]
        assert ((defined >= lowest) & (defined <= 1)).all(), name
    # Bounds of Topsøe (2000) and Le Cam (1986), through the triangular discrimination, linear in the rows.
    squared_hellinger, bits = statistics["hellinger"], statistics["js_divergence"]
    compared = ~bits.isnan()
    assert (bits[compared] >= squared_hellinger[compared] / (2 * math.log(2)) - 1e-6).all()
    assert (bits[compared] <= 2 * squared_hellinger[compared] + 1e-6).all()


@pytest.mark.parametrize("support", ["causal", "full"])
def test_rows_that_sum_to_less_than_one_count_with_what_they_have(support):
    """As in GPT-OSS, whose heads keep a share of each row for no key."""
    shares = torch.rand(HEADS, TOKENS, 1, generator=torch.Generator().manual_seed(2))
    distributions = random_attention(HEADS, TOKENS, support, seed=1)
    layer = layer_attention(distributions * shares, support)
    rows = layer.weights.double().numpy()
    kept = head_statistics(layer.weights, "kept")
    np.testing.assert_allclose(kept.row_entropy_nats, -xlogy(rows, rows).sum(-1), atol=1e-12)
    np.testing.assert_allclose(kept.received.sum(-1), shares.double().mean((1, 2)), atol=1e-7)
    statistics = pair_statistics(layer, ["hellinger", "js_divergence"], "kept")
    for pair, (i, j) in enumerate(combinations(range(HEADS), 2)):
        first, second = rows[i, 1:], rows[j, 1:]
        squared_hellinger = ((np.sqrt(first) - np.sqrt(second)) ** 2).sum(-1) / 2
        middle = (first + second) / 2
        bits = (rel_entr(first, middle) + rel_entr(second, middle)).sum(-1) / 2 / math.log(2)
        assert statistics["hellinger"][pair] == pytest.approx(squared_hellinger.mean(), abs=1e-12)
        assert statistics["js_divergence"][pair] == pytest.approx(bits.mean(), abs=1e-12)
    # Without the sink the rows are renormalised: no share is left that could be missing.
    for name, values in pair_statistics(layer, ROW_STATISTICS, "dropped").items():
        whole = pair_statistics(layer_attention(distributions, support), ROW_STATISTICS, "dropped")[name]
        torch.testing.assert_close(values, whole, rtol=0, atol=1e-5)


def test_uniform_heads_have_the_entropy_of_their_keys():
    tokens = 9
    weights = torch.ones(2, tokens, tokens).tril()
    weights /= weights.sum(-1, keepdim=True)
    kept, dropped = (head_statistics(weights, sink) for sink in SINKS)
    np.testing.assert_allclose(kept.row_entropy_nats[0], np.log(np.arange(1, tokens + 1)), atol=1e-6)
    np.testing.assert_allclose(dropped.row_entropy_nats[0, 1:], np.log(np.arange(1, tokens)), atol=1e-6)
    assert dropped.row_entropy_nats[0, 0].isnan()
    assert (kept.rows_left_out == 0).all()
    assert (dropped.rows_left_out == 1).all()


def test_a_row_is_left_out_below_the_smallest_mass_only():
    weights = torch.zeros(1, 3, 3)
    weights[0, :, 0] = 1
    weights[0, 1, 1] = 0.9 * SMALLEST_MASS
    weights[0, 2, 2] = 1.1 * SMALLEST_MASS
    statistics = head_statistics(weights, "dropped")
    assert statistics.rows_left_out.item() == 2
    assert statistics.row_entropy_nats[0].isnan().tolist() == [True, True, False]
    assert statistics.received[0].tolist() == [0, 0, 1]


def test_a_constant_pattern_has_no_correlation():
    weights = random_attention(3, 6, "full", seed=3)
    weights[1] = torch.zeros(6, 6).softmax(-1) + torch.linspace(-2e-8, 2e-8, 6)
    statistics = pair_statistics(layer_attention(weights, "full"), ["pattern_correlation"], "kept")
    for name in ("pattern_correlation", "pattern_correlation_full"):
        assert statistics[name].isnan().tolist() == [True, False, True]


def test_a_head_that_writes_the_same_at_every_token_has_no_cka():
    layer = layer_attention(random_attention(3, 6, "causal", seed=3))
    layer.head_outputs[:, 0] = torch.arange(5.0)
    assert output_cka(layer.head_outputs, layer.output_projection).isnan().tolist() == [True, True, False]


@pytest.mark.parametrize(("tokens", "defined"), [(1, False), (3, False), (4, True)])
def test_cka_needs_four_tokens(tokens, defined):
    layer = layer_attention(random_attention(2, tokens, "causal", seed=3))
    assert output_cka(layer.head_outputs, layer.output_projection).isfinite().item() is defined


def test_a_prompt_of_one_token_has_no_pairs_of_rows():
    layer = layer_attention(torch.ones(3, 1, 1))
    for sink in SINKS:
        for values in pair_statistics(layer, EVERYTHING, sink).values():
            assert values.isnan().tolist() == [True] * 3
    assert head_statistics(layer.weights, "dropped").received.isnan().all()


def test_one_head_has_no_pairs():
    layer = layer_attention(random_attention(1, 6, "causal", seed=3))
    assert all(values.numel() == 0 for values in pair_statistics(layer, EVERYTHING, "kept").values())


def everything(layer: LayerAttention, sink: str) -> dict[str, torch.Tensor]:
    of_heads = head_statistics(layer.weights, sink)
    return pair_statistics(layer, EVERYTHING, sink) | vars(of_heads) | {"descriptors": descriptors(layer)}


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("entries", [1, 2 * HEADS * TOKENS])
def test_rows_taken_a_few_at_a_time_give_the_same(entries, sink, monkeypatch):
    for support in ("causal", "full"):
        layer = layer_attention(with_sink_rows(random_attention(HEADS, TOKENS, support, seed=4)), support)
        whole = everything(layer, sink)
        with monkeypatch.context() as tiled:
            tiled.setattr("headwise.attention.row_tiles.ENTRIES_AT_ONCE", entries)
            in_tiles = everything(layer, sink)
        assert in_tiles.keys() == whole.keys()
        for name, values in whole.items():
            torch.testing.assert_close(in_tiles[name], values, rtol=1e-12, atol=1e-14, equal_nan=True)


@pytest.mark.parametrize("sink", SINKS)
def test_statistics_of_a_long_prompt_need_no_copy_of_its_attention(sink):
    heads, tokens = 4, 2048
    layer = layer_attention(random_attention(heads, tokens, "causal", seed=6))
    copy_in_float64 = 8 * heads * tokens**2
    assert peak_of(lambda: everything(layer, sink)) < 1.2 * copy_in_float64


def test_columns_are_what_is_computed():
    layer = layer_attention(random_attention(3, 6, "causal", seed=3))
    assert list(pair_statistics(layer, EVERYTHING, "kept")) == pair_columns(EVERYTHING)
    assert list(pair_statistics(layer, EVERYTHING, "dropped")) == pair_columns(ROW_STATISTICS)
    assert list(pair_statistics(layer, ["output_cka"], "dropped")) == []


def test_an_unknown_statistic_is_refused():
    with pytest.raises(ValueError, match="unknown statistic of pairs 'helinger'"):
        pair_columns(["helinger"])


def test_cka_without_an_output_projection_is_an_error_that_says_so():
    layer = layer_attention(random_attention(3, 6, "causal", seed=3), layer=5)
    without = LayerAttention(5, layer.weights, layer.head_outputs, None, "causal")
    assert set(pair_statistics(without, ["hellinger"], "kept")) == {"hellinger"}
    with pytest.raises(ValueError, match="layer 5: output_cka needs an output projection"):
        pair_statistics(without, ["output_cka"], "kept")
