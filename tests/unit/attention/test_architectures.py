"""Every architecture, saved and loaded back: what is captured is what the model computes, and the facts are its own."""

import inspect
from functools import cache, partial
from typing import Any

import pytest
import torch
from architecture_examples import (
    ARCHITECTURES,
    HIDDEN,
    REFUSED,
    TOKENS,
    WINDOW,
    Comparison,
    compare_capture,
    save_tiny,
)
from attention_examples import token_ids
from project import ROOT
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from headwise.attention.capture import CaptureError, LayerAttention, attention_layers, capturing
from headwise.attention.layer_statistics import statistics_of
from headwise.attention.sinks import SINKS
from headwise.attention.statistics_capture import CapturedStatistics, capturing_statistics
from headwise.models.architecture import architecture_facts
from headwise.models.shape import WHOLE_ATTENTION
from headwise.models.windows import windows_act

DOCUMENT = ROOT / "docs" / "architectures.md"

pytestmark = pytest.mark.slow
every_architecture = pytest.mark.parametrize("name", ARCHITECTURES)


def padded(name: str, side: str) -> Any:
    reads_padding = pytest.mark.xfail(strict=True, reason="the model's own recurrence reads padding on the left")
    return pytest.param(name, side, marks=[reads_padding] if (name, side) == ("RecurrentGemma", "left") else [])


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Each architecture is saved, loaded and captured once."""

    @cache
    def compare(name: str) -> Comparison:
        return compare_capture(save_tiny(ARCHITECTURES[name], tmp_path_factory.mktemp("architecture") / "model"))

    return compare


def reach_back(weights: Tensor) -> int:
    """The largest number of tokens that a query attends to up to itself, in attention without a zero by chance."""
    distance = torch.arange(TOKENS)[:, None] - torch.arange(TOKENS)
    return int(distance[(weights > 0).any(0)].max()) + 1


@pytest.mark.parametrize("model_type", REFUSED)
def test_what_cannot_be_captured_is_refused_by_name(model_type):
    config = AutoConfig.for_model(model_type, **HIDDEN | REFUSED[model_type])
    model = AutoModelForCausalLM.from_config(config).eval()
    with (
        torch.no_grad(),
        pytest.raises(CaptureError, match=f"^model type '{model_type}'.*choose a checkpoint"),
        capturing(model, lambda attention: None),
    ):
        model(input_ids=token_ids(TOKENS), use_cache=False)


@every_architecture
def test_the_document_shows_a_capture_bit_for_bit(name):
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {name} | ")]
    assert len(rows) == 1
    assert rows[0].split(" | ")[8:10] == ["0", "0"]


@every_architecture
def test_attention_and_logits_are_those_of_the_eager_model(name, compared):
    comparison = compared(name)
    for layer, weights in zip(comparison.layers, comparison.attention, strict=True):
        assert layer.weights.dtype == torch.float32
        assert torch.equal(layer.weights, weights)
    assert torch.equal(comparison.captured_logits, comparison.logits)


@every_architecture
def test_statistics_from_tiles_are_those_of_whole_attention(name, compared, monkeypatch):
    """And the document tells how each architecture is captured for statistics, memory is requested accordingly."""
    monkeypatch.setattr("headwise.attention.row_tiles.ENTRIES_AT_ONCE", 4 * TOKENS * 5)
    comparison = compared(name)
    names = ["hellinger", "pattern_correlation", "output_cka"]
    found: list[CapturedStatistics] = []
    with torch.no_grad(), capturing_statistics(comparison.model, names, found.append):
        logits = comparison.model(input_ids=token_ids(TOKENS), use_cache=False).logits
    torch.testing.assert_close(logits, comparison.logits, rtol=1e-4, atol=1e-4)
    same = partial(torch.testing.assert_close, rtol=1e-4, atol=2e-6, equal_nan=True)
    for layer, attention in zip(found, comparison.layers, strict=True):
        assert (layer.layer, layer.support) == (attention.layer, attention.support)
        expected = statistics_of(attention, names)
        for sink in SINKS:
            for statistic, values in expected.pairs[sink].items():
                same(layer.statistics.pairs[sink][statistic], values)
            for statistic, values in vars(expected.heads[sink]).items():
                same(getattr(layer.statistics.heads[sink], statistic), values)
        same(layer.statistics.descriptors, expected.descriptors)
    row = next(line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {name} | "))
    assert {layer.way for layer in found} == {way := row.split(" | ")[3]}
    assert (way == "exact") == (ARCHITECTURES[name].model_type in WHOLE_ATTENTION)


@every_architecture
def test_head_writes_add_up_to_what_each_layer_writes(name, compared):
    comparison = compared(name)
    layers = attention_layers(comparison.model)
    for layer, captured, written in zip(layers, comparison.layers, comparison.written, strict=True):
        writes = torch.einsum("thw,hwd->td", captured.head_outputs, captured.output_projection)
        bias = 0 if layer.projection.bias is None else layer.projection.bias
        torch.testing.assert_close(writes + bias, written, rtol=1e-4, atol=1e-5)


@every_architecture
def test_layers_support_and_row_sums(name, compared):
    expected, layers = ARCHITECTURES[name], compared(name).layers
    assert tuple(layer.layer for layer in layers) == expected.layers
    assert {layer.support for layer in layers} == {expected.support}
    sums = torch.stack([layer.weights.sum(-1) for layer in layers])
    if expected.sums_to_one:
        torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-6)
    else:
        assert ((sums > 0) & (sums < 1)).all()


@every_architecture
def test_facts_are_those_of_the_configuration_and_of_the_captured_attention(name, compared):
    expected, comparison = ARCHITECTURES[name], compared(name)
    facts = architecture_facts(comparison.model.config)
    assert facts["attention"] == expected.attention
    assert facts["positions"] == expected.positions
    assert (facts["heads"], facts["key_value_heads"]) == (4, expected.key_value_heads)
    assert tuple(facts["windows"]) == expected.windows
    assert tuple(facts["attention_layers"]) == expected.layers
    assert facts["layers"] == max(expected.layers) + 1
    assert facts["parameters"] == sum(parameter.numel() for parameter in comparison.model.parameters())
    if expected.key_value_heads is None:
        assert facts["key_value_ratio"] is facts["crowding"] is None
    else:
        assert facts["key_value_ratio"] == expected.key_value_heads / 4
        assert facts["head_width"] == comparison.layers[0].head_outputs.shape[-1]
        assert facts["crowding"] == 4 / expected.key_value_heads * 4 / facts["head_width"]
    # Measured: how far back queries attend.
    assert [reach_back(layer.weights) for layer in comparison.layers] == [w or TOKENS for w in facts["windows"]]
    assert windows_act(facts["windows"], WINDOW + 1) == [window is not None for window in facts["windows"]]
    assert not any(windows_act(facts["windows"], WINDOW))


@pytest.mark.parametrize(("name", "side"), [padded(name, side) for name in ARCHITECTURES for side in ("left", "right")])
def test_padding_and_the_rest_of_a_batch_change_nothing(name, side, compared):
    """Capture takes prompts alone and without padding: the model's own attention in a padded batch is the same."""
    comparison, padding = compared(name), 3
    model = comparison.model
    prompt = slice(padding, None) if side == "left" else slice(0, TOKENS)
    pad = 1 if model.config.model_type == "mpnet" else 0  # whatever its configuration says
    ids = torch.cat([torch.full((1, TOKENS + padding), pad), token_ids(TOKENS + padding, seed=1)])
    mask = torch.ones_like(ids)
    mask[0] = 0
    ids[0, prompt], mask[0, prompt] = token_ids(TOKENS)[0], 1
    options = {}
    # RoBERTa, its kin and MPNet count their positions from the padding token themselves.
    takes_positions = "position_ids" in inspect.signature(model.forward).parameters
    if takes_positions and model.config.model_type not in ("mpnet", "roberta", "xlm-roberta"):
        options["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    model.config._attn_implementation = "eager"
    with torch.no_grad():
        output = model(input_ids=ids, attention_mask=mask, use_cache=False, output_attentions=True, **options)
    attention = [weights for weights in output.attentions if weights is not None]
    for layer, weights in zip(comparison.layers, attention, strict=True):
        torch.testing.assert_close(layer.weights, weights[0, :, prompt, prompt], rtol=0, atol=1e-5)
    torch.testing.assert_close(comparison.captured_logits[0], output.logits[0, prompt], rtol=1e-4, atol=1e-4)


# Of architectures that compute attention themselves: where their values come from, and which part of it they are.
VALUES = {
    "GPT-Neo": ("transformer.h.0.attn.attention.v_proj", lambda output: output.view(TOKENS, 4, 8)),
    "GPT-J": ("transformer.h.0.attn.v_proj", lambda output: output.view(TOKENS, 4, 8)),
    # In four parts, each with queries, values and keys of its heads.
    "CodeGen": ("transformer.h.0.attn.qkv_proj", lambda output: output.view(TOKENS, 4, 3, 8)[:, :, 1]),
    "XGLM": ("model.layers.0.self_attn.v_proj", lambda output: output.view(TOKENS, 4, 8)),
    "MPT": ("transformer.blocks.0.attn.Wqkv", lambda output: output.view(TOKENS, 3, 4, 8)[:, 2]),
    "BLOOM": (
        "transformer.h.0.self_attention.query_key_value",
        lambda output: output.view(TOKENS, 4, 3, 8)[:, :, 2],
    ),
    "Falcon, multi-query": (
        "transformer.h.0.self_attention.query_key_value",
        lambda output: output.view(TOKENS, 6, 8)[:, 5:].expand(-1, 4, -1),
    ),
    "Falcon, multi-head, ALiBi": (
        "transformer.h.0.self_attention.query_key_value",
        lambda output: output.view(TOKENS, 4, 3, 8)[:, :, 2],
    ),
    # Two groups, each of two queries, a key and a value.
    "Falcon, new decoder, grouped-query": (
        "transformer.h.0.self_attention.query_key_value",
        lambda output: output.view(TOKENS, 2, 4, 8)[:, :, 3].repeat_interleave(2, dim=1),
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_outputs_and_weights_of_a_head_belong_together(name, compared):
    """A head's output is its weights times its values, here of heads that are told apart by their values."""
    path, values_of = VALUES[name]
    comparison = compared(name)
    values: list[Tensor] = []
    layers: list[LayerAttention] = []
    hook = comparison.model.get_submodule(path).register_forward_hook(
        lambda module, inputs, output: values.append(values_of(output))
    )
    with torch.no_grad(), capturing(comparison.model, layers.append):
        comparison.model(input_ids=token_ids(TOKENS), use_cache=False)
    hook.remove()
    expected = torch.einsum("hqk,khw->qhw", layers[0].weights, values[0])
    torch.testing.assert_close(layers[0].head_outputs, expected, rtol=1e-4, atol=1e-6)
