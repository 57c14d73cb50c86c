"""Statistics from tiles are those of whole attention, whatever the tiles, the masks and the model."""

from unittest.mock import Mock, patch

import numpy as np
import pytest
import torch
from architecture_examples import ARCHITECTURES as EVERY_ARCHITECTURE
from architecture_examples import language_model_class
from attention_examples import ARCHITECTURES, layer_attention, peak_of, random_attention, tiny_model, token_ids
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import AutoConfig
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward as capped
from transformers.models.llama.modeling_llama import eager_attention_forward as grouped
from transformers.models.t5.modeling_t5 import eager_attention_forward as biased

from headwise.attention.capture import CaptureError, LayerAttention, capturing
from headwise.attention.compiled_tile_sums import sum_tile_compiled
from headwise.attention.interface import AttentionCall
from headwise.attention.layer_statistics import LayerStatistics, statistics_from, statistics_of
from headwise.attention.layer_sums import LayerSums
from headwise.attention.pair_statistics import PAIR_STATISTICS
from headwise.attention.scratch import Scratch
from headwise.attention.sinks import SINKS
from headwise.attention.statistics_capture import CapturedStatistics, capturing_statistics, way_of
from headwise.attention.tile_sums import sum_tile_plainly
from headwise.attention.tiled_attention import attend_in_tiles, can_tile, kind_of

TOKENS = 13
TILE = "headwise.attention.row_tiles.ENTRIES_AT_ONCE"
FEW_TOKENS = 8
# Where one key has nearly all of a row, or two heads are nearly equal, what is left is rounding of float32.
ROUNDING = 2e-6


def assert_same(found: LayerStatistics, expected: LayerStatistics, relative: float, absolute: float = ROUNDING) -> None:
    def tables(statistics: LayerStatistics) -> dict[str, Tensor]:
        by_sink = {
            f"{name}, {sink}": value
            for sink in SINKS
            for name, value in {**vars(statistics.heads[sink]), **statistics.pairs[sink]}.items()
        }
        return {**by_sink, "descriptors": statistics.descriptors}

    before, after = tables(expected), tables(found)
    assert before.keys() == after.keys()
    for name, values in before.items():
        if name.startswith("pattern_correlation"):
            # A row or two that are nearly flat: what varies is less than sums of squares in float32 show.
            after[name] = after[name].where(~after[name].isnan() | (found.tokens >= FEW_TOKENS), values)
        np.testing.assert_allclose(after[name], values, rtol=relative, atol=absolute, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(
    heads=st.integers(1, 5),
    tokens=st.integers(1, 23),
    at_once=st.integers(1, 9),
    support=st.sampled_from(["causal", "full"]),
    sharpness=st.sampled_from([0.5, 3.0, 12.0]),
    share=st.sampled_from([1.0, 0.3]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    trim=st.booleans(),
    compiled=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_rows_added_up_by_tiles(heads, tokens, at_once, support, sharpness, share, dtype, trim, compiled, seed):
    """In float32 and tiles of any size, as in float64 and at once; some rows have all they have on key 0."""
    weights = random_attention(heads, tokens, support, seed, sharpness) * share
    weights[0, tokens // 2 :: 3] = torch.eye(tokens)[0] * share
    weights = weights.to(dtype)
    layer = layer_attention(weights.float(), support)
    names = [name for name in PAIR_STATISTICS if name != "output_cka"]
    sums = LayerSums(tokens, names)
    with patch("headwise.attention.layer_sums.COMPILED_FROM_TOKENS", 1 if compiled else tokens + 1):
        for first in range(0, tokens, at_once):
            rows = weights[:, first : first + at_once]
            sums.add(first, rows[..., : first + rows.shape[1]] if trim and support == "causal" else rows)
    assert sums.looks_ahead == (support == "full" and tokens > 1 and bool((weights.triu(1) > 0).any()))
    # A pattern of few entries may be nearly constant: Pearson then magnifies rounding.
    assert_same(statistics_from([sums], layer.support, None)[0], statistics_of(layer, names), 1e-4, absolute=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    heads=st.integers(1, 9),
    keys=st.integers(1, 70) | st.sampled_from([1023, 1024, 1025, 2100]),
    rows=st.integers(1, 6),
    window=st.sampled_from([1, 5, None]),
    names=st.sets(st.sampled_from(["hellinger", "pattern_correlation", "js_divergence"])),
    gaps=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_compiled_code_counts_as_plain_tensors_do(heads, keys, rows, window, names, gaps, seed):
    """The last rows of attention to so many keys in float32, against the plain version in float64."""
    rows = min(rows, keys)
    first = keys - rows
    generator = torch.Generator().manual_seed(seed)
    scores = 4 * torch.randn(heads, rows, keys, generator=generator)
    distance = torch.arange(first, keys)[:, None] - torch.arange(keys)
    tile = scores.masked_fill((distance < 0) | (distance >= (window or keys)), -torch.inf).softmax(-1)
    tile[0, rows // 2] = torch.eye(keys)[0]
    if gaps:
        tile = torch.stack([tile, tile], -1)[..., 0]
    before = torch.rand(heads, 2, keys + 3, generator=generator, dtype=torch.float64)
    received, expected_received = before.clone(), before.clone()
    found = sum_tile_compiled(tile, first, names, received)
    expected = sum_tile_plainly(tile.double(), first, names, False, expected_received, Scratch())
    np.testing.assert_allclose(found.rows, expected.rows, rtol=1e-5, atol=ROUNDING)
    # Without key 0, what key 0 receives means nothing.
    received[:, 1, 0] = expected_received[:, 1, 0]
    np.testing.assert_allclose(received, expected_received, rtol=1e-5, atol=ROUNDING)
    assert found.by_pair.keys() == expected.by_pair.keys()
    for name, values in expected.by_pair.items():
        np.testing.assert_allclose(found.by_pair[name], values, rtol=1e-5, atol=ROUNDING, err_msg=name)


def test_compiled_code_lets_through_what_is_not_a_number():
    """By which extraction sees that attention is not finite."""
    for place in (0, 3):
        tile = torch.full((2, 1, 4), 0.25)
        tile[1, 0, place] = torch.nan
        received = torch.zeros(2, 2, 4, dtype=torch.float64)
        sum_tile_compiled(tile, 3, (), received)
        assert received[0, 0].isfinite().all()
        assert received[1, 0, place].isnan()


def test_long_prompts_are_added_up_by_compiled_code_where_there_is_any():
    tile = torch.full((2, 1, 200), 0.005)
    compiled = Mock(wraps=sum_tile_compiled)
    with patch("headwise.attention.layer_sums.compiled_sums", lambda: compiled):
        LayerSums(200, ()).add(199, tile)
        assert compiled.call_count == 1
        LayerSums(100, ()).add(99, tile[..., :100])
        LayerSums(200, ()).add(199, tile.double())
        assert compiled.call_count == 1
    with patch("headwise.attention.layer_sums.compiled_sums", lambda: None):
        LayerSums(200, ()).add(199, tile)


@settings(max_examples=60, deadline=None)
@given(
    groups=st.integers(1, 3),
    key_heads=st.integers(1, 3),
    tokens=st.integers(1, 19),
    width=st.sampled_from([1, 4, 7]),
    entries=st.integers(1, 300),
    mask=st.sampled_from(["causal", "none", "window", "bias"]),
    own=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_attention_in_tiles_is_attention(groups, key_heads, tokens, width, entries, mask, own, seed):
    """Weights and outputs of plain attention and of the model's own in tiles, against softmax(scale q k^T + mask) v."""
    generator = torch.Generator().manual_seed(seed)
    heads = groups * key_heads
    query = torch.randn(1, heads, tokens, width, generator=generator)
    key, value = torch.randn(2, 1, key_heads, tokens, width, generator=generator)
    distance = torch.arange(tokens)[:, None] - torch.arange(tokens)
    visible = {"causal": distance >= 0, "none": distance > -tokens, "window": (distance >= 0) & (distance < 3)}
    bias = torch.zeros(1, heads, tokens, tokens)
    given_mask = None
    if mask == "bias":
        bias = -0.3 * distance.abs() * torch.arange(1.0, heads + 1)[:, None, None] + bias
        given_mask = bias = bias.masked_fill(distance < 0, torch.finfo(torch.float32).min)
    else:
        bias = bias.masked_fill(~visible[mask], -torch.inf)
        given_mask = visible[mask][None, None] if mask == "window" else None
    module = nn.Module()
    module.num_key_value_groups = groups
    options = {"scaling": 0.7, "dropout": 0.0}
    call = AttentionCall(module.eval(), grouped, query, key, value, given_mask, options, mask != "none")
    expected = (0.7 * query @ key.repeat_interleave(groups, 1).mT + bias).softmax(-1)[0]
    assert can_tile(call)
    assert kind_of(call) == "plain"
    weights = torch.zeros(heads, tokens, tokens)

    def take(first: int, tile: Tensor) -> None:
        weights[:, first : first + tile.shape[1], : tile.shape[2]] = tile

    with patch(TILE, entries):
        output = attend_in_tiles(call, "own" if own else "plain", take, Scratch())
    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-6)
    written = (expected @ value.repeat_interleave(groups, 1)[0]).transpose(0, 1)
    torch.testing.assert_close(output[0], written, rtol=1e-5, atol=1e-5)


@settings(max_examples=120, deadline=None)
@given(
    heads=st.integers(1, 3),
    tokens=st.integers(1, 19),
    entries=st.integers(1, 200),
    shape=st.sampled_from(["shared", "by head", "without a batch", "of queries and keys", "of keys"]),
    hidden=st.sampled_from(["boolean", "lowest", "infinite"]),
    share=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    causal=st.booleans(),
    bias=st.booleans(),
    own=st.booleans(),
    compiled=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_mask(heads, tokens, entries, shape, hidden, share, causal, bias, own, compiled, seed):
    """Rows without their own key, with one key, with none; masks of every shape that scores can be added to."""
    generator = torch.Generator().manual_seed(seed)
    size = {"by head": (1, heads, tokens), "without a batch": (heads, tokens), "of keys": (1, 1, 1)}
    size = size.get(shape, (tokens,) if shape == "of queries and keys" else (1, 1, tokens))
    visible = torch.rand(*size, tokens, generator=generator) < share
    if causal and shape != "of keys":
        visible = visible.tril()
    mask = visible
    if hidden != "boolean":
        lowest = -torch.inf if hidden == "infinite" else torch.finfo(torch.float32).min
        mask = bias * torch.randn(visible.shape, generator=generator)
        mask = mask.masked_fill(~visible, lowest)
    query, key, value = 2 * torch.randn(3, 1, heads, tokens, 4, generator=generator)
    module = nn.Module().eval()
    module.num_key_value_groups = 1
    call = AttentionCall(module, grouped, query, key, value, mask, {"scaling": 0.7}, causal)
    # Plain loops over what eager attention is given: booleans as numbers, and of the same shape whatever was given.
    added = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    added = (added if hidden == "boolean" else mask).broadcast_to(1, heads, tokens, tokens)[0]
    expected = torch.stack(
        [(0.7 * (key[0, h] @ query[0, h, q]) + added[h, q]).softmax(0) for h in range(heads) for q in range(tokens)]
    ).view(heads, tokens, tokens)
    names = [name for name in PAIR_STATISTICS if name != "output_cka"]
    sums, weights = LayerSums(tokens, names), torch.zeros(heads, tokens, tokens)

    def take(first: int, tile: Tensor) -> None:
        weights[:, first : first + tile.shape[1], : tile.shape[2]] = tile
        sums.add(first, tile)

    with patch(TILE, entries), patch("headwise.attention.layer_sums.COMPILED_FROM_TOKENS", 1 if compiled else 999):
        output = attend_in_tiles(call, "own" if own else "plain", take, Scratch())
    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-6, equal_nan=True)
    written = (expected @ value[0]).transpose(0, 1)
    torch.testing.assert_close(output[0], written, rtol=1e-5, atol=1e-5, equal_nan=True)
    if expected.isfinite().all():
        layer = layer_attention(expected, "causal" if not (expected.triu(1) > 0).any() else "full")
        assert sums.looks_ahead == (layer.support == "full")
        assert_same(statistics_from([sums], layer.support, None)[0], statistics_of(layer, names), 1e-4, absolute=1e-5)


def test_an_example_tells_what_is_not_plain():
    module = nn.Module().eval()
    module.num_key_value_groups = 1
    query = torch.randn(1, 2, 3, 4)
    call = AttentionCall(module, capped, query, query, query, None, {"scaling": 0.5, "softcap": None}, True)
    assert kind_of(call) == "plain"
    call.options["softcap"] = 50.0
    assert kind_of(call) == "own"
    call.options["softcap"] = None
    half = query.bfloat16()
    assert kind_of(AttentionCall(module, capped, half, half, half, None, call.options, True)) == "own"


def test_attention_with_a_bias_of_its_own_is_not_taken_apart():
    query = torch.randn(1, 2, 3, 4)
    options = {"position_bias": torch.randn(1, 2, 3, 3), "position_ids": torch.arange(3)[None]}
    call = AttentionCall(nn.Module(), biased, query, query, query, None, options, True)
    assert not can_tile(call)
    del options["position_bias"]
    assert can_tile(call)


MODELS = {
    **{name: (kind, changes) for name, (kind, changes, _) in ARCHITECTURES.items()},
    "capped": ("gemma2", dict(num_key_value_heads=2, head_dim=8, sliding_window=4, attn_logit_softcapping=2.0)),
}
WAYS = {"gpt2 upcast": "exact", "falcon": "exact", "falcon alibi": "exact", "bloom": "exact"}
WAYS |= {"gemma2": "eager_tiled", "capped": "eager_tiled"}


def both(model, ids: Tensor, entries: int) -> tuple[list[LayerAttention], list[CapturedStatistics], list[Tensor]]:
    whole: list[LayerAttention] = []
    reduced: list[CapturedStatistics] = []
    with torch.no_grad(), patch(TILE, entries):
        with capturing(model, whole.append):
            outputs = [model(input_ids=ids)[0]]
        with capturing_statistics(model, PAIR_STATISTICS, reduced.append):
            outputs.append(model(input_ids=ids)[0])
    return whole, reduced, outputs


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("tokens", [1, TOKENS])
def test_statistics_of_a_model_are_those_of_its_weights(name, tokens):
    kind, changes = MODELS[name]
    whole, reduced, outputs = both(tiny_model(kind, **changes), token_ids(tokens), entries=4 * TOKENS * 3)
    for attention, found in zip(whole, reduced, strict=True):
        assert (found.layer, found.support, found.finite) == (attention.layer, attention.support, True)
        assert found.way == WAYS.get(name, "tiled")
        assert_same(found.statistics, statistics_of(attention, PAIR_STATISTICS), 1e-4)
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)


def test_learned_sinks_are_the_models_own():
    architecture = EVERY_ARCHITECTURE["GPT-OSS"]
    config = AutoConfig.for_model(architecture.model_type, **architecture.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = language_model_class(config).from_config(config, attn_implementation="eager").eval()
    whole, reduced, _ = both(model, token_ids(TOKENS), entries=4 * TOKENS * 3)
    for attention, found in zip(whole, reduced, strict=True):
        assert found.way == "eager_tiled"
        assert found.statistics.heads["kept"].received.sum(-1).max() < 0.99
        assert_same(found.statistics, statistics_of(attention, PAIR_STATISTICS), 1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["grouped-query", "gpt2", "bloom"])
def test_half_precision_is_rounded_as_the_model_rounds(name, dtype):
    kind, changes = MODELS[name]
    whole, reduced, _ = both(tiny_model(kind, **changes).to(dtype), token_ids(TOKENS), entries=4 * TOKENS * 3)
    for attention, found in zip(whole, reduced, strict=True):
        assert found.way == WAYS.get(name, "eager_tiled")
        # A score may be rounded the other way, and what follows from it.
        assert_same(found.statistics, statistics_of(attention, PAIR_STATISTICS), 0.02, absolute=0.01)


def test_tiles_come_in_order_before_their_layer():
    model, events = tiny_model("llama", num_key_value_heads=2), []

    def take_tile(layer: int, tokens: int, first: int, tile: Tensor) -> None:
        events.append((layer, tokens, first, tuple(tile.shape)))

    with (
        torch.no_grad(),
        patch(TILE, 4 * TOKENS * 5),
        capturing_statistics(model, (), lambda layer: events.append(layer.layer), take_tile),
    ):
        model(input_ids=token_ids(TOKENS))
    one = [(0, (4, 5, 5)), (5, (4, 5, 10)), (10, (4, 3, TOKENS))]
    for layer in range(3):
        of_layer = [event for event in events if event == layer or (isinstance(event, tuple) and event[0] == layer)]
        assert of_layer == [*((layer, TOKENS, *tile) for tile in one), layer]
    assert [event for event in events if isinstance(event, int)] == [0, 1, 2]


def test_memory_does_not_hold_a_layers_weights():
    tokens, entries = 512, 4 * 512 * 16
    model = tiny_model("llama", num_key_value_heads=2, max_position_embeddings=tokens)
    model.set_attn_implementation("sdpa")
    ids = token_ids(tokens)

    def reduce() -> None:
        with (
            patch(TILE, entries),
            capturing_statistics(model, ["hellinger", "pattern_correlation", "output_cka"], lambda each: None),
        ):
            model(input_ids=ids)

    with torch.inference_mode():
        plain = peak_of(lambda: model(input_ids=ids))
        peak = peak_of(reduce)
    # Scores, weights, what is made of them, and rows of layers that wait; one layer's weights take 32 tiles.
    assert peak - plain < 12 * entries * 4 < 4 * tokens**2 * 4


@pytest.mark.parametrize(("kind", "within"), [("llama", "sdpa"), ("falcon", "eager")])
def test_the_model_is_left_as_it_was(kind, within):
    model, inside = tiny_model(kind), []
    model.config._attn_implementation = "sdpa"
    with (
        torch.no_grad(),
        capturing_statistics(model, (), lambda layer: inside.append(model.config._attn_implementation)),
    ):
        model(input_ids=token_ids(TOKENS))
    assert inside == [within] * 3
    assert model.config._attn_implementation == "sdpa"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_gradients_and_inference_mode_may_change_within():
    model, found = tiny_model("llama", num_key_value_heads=2), []
    with capturing_statistics(model, PAIR_STATISTICS, found.append):
        with torch.inference_mode():
            model(input_ids=token_ids(TOKENS))
        model(input_ids=token_ids(TOKENS))
    for first, second in zip(found[:3], found[3:], strict=True):
        assert_same(first.statistics, second.statistics, 0, absolute=0)


def test_attention_that_is_not_finite_is_told():
    model, found = tiny_model("llama", num_key_value_heads=2), []
    with torch.no_grad():
        model.model.layers[1].self_attn.q_proj.weight[0, 0] = torch.nan
        with capturing_statistics(model, PAIR_STATISTICS, found.append):
            model(input_ids=token_ids(TOKENS))
    assert [layer.finite for layer in found] == [True, False, False]


def test_what_cannot_be_measured_is_refused():
    model = tiny_model("llama", num_key_value_heads=2)
    ids = token_ids(TOKENS)
    with torch.no_grad(), capturing_statistics(model, (), lambda layer: None):
        with pytest.raises(CaptureError, match="the prompt is padded"):
            model(input_ids=ids, attention_mask=torch.tensor([[0] * 3 + [1] * (TOKENS - 3)]))
        with pytest.raises(CaptureError, match="one whole prompt at a time"):
            model(input_ids=ids.repeat(2, 1))
    projection = model.model.layers[2].self_attn.o_proj
    projection.weight = nn.Parameter(projection.weight.to(torch.int8), requires_grad=False)
    refused = pytest.raises(ValueError, match=r"layer 2: output_cka needs .*remove output_cka")
    with torch.no_grad(), capturing_statistics(model, ["output_cka"], lambda layer: None), refused:
        model(input_ids=ids)


@pytest.mark.parametrize(("kind", "way"), [("llama", "tiled"), ("gemma2", "eager_tiled"), ("bloom", "exact")])
def test_a_model_tells_its_way(kind, way):
    with torch.no_grad():
        assert way_of(tiny_model(kind, **{"head_dim": 8} if kind == "gemma2" else {})) == way
