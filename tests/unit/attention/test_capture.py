"""Captured attention is the model's own, bit for bit, and one layer at a time."""

import gc
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from architecture_examples import ARCHITECTURES as EVERY_ARCHITECTURE
from attention_examples import ARCHITECTURES, VOCABULARY, tiny_model, token_ids
from torch import Tensor
from transformers import (
    AttentionInterface,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    Lfm2Config,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from headwise.attention.capture import CaptureError, LayerAttention, Receiver, attention_layers, capturing
from headwise.attention.statistics_capture import CapturedStatistics, capturing_statistics
from headwise.models.architecture import language_model_class

TOKENS = 11


def captured(model, ids: Tensor) -> tuple[list[LayerAttention], Tensor]:
    layers: list[LayerAttention] = []
    with torch.no_grad(), capturing(model, layers.append):
        output = model(input_ids=ids)
    return layers, output[0]


def captured_by(model, receive: Receiver) -> None:
    with torch.no_grad(), capturing(model, receive):
        model(input_ids=token_ids(TOKENS))


@pytest.fixture(params=ARCHITECTURES, ids=lambda name: name.replace(" ", "_"))
def architecture(request):
    kind, changes, projection = ARCHITECTURES[request.param]
    return tiny_model(kind, **changes), projection


def test_weights_and_output_are_those_of_eager_attention(architecture):
    model, _ = architecture
    ids = token_ids(TOKENS)
    with torch.no_grad():
        reference = model(input_ids=ids, output_attentions=True)
        unhooked = model(input_ids=ids)[0]
    layers, output = captured(model, ids)
    assert [layer.layer for layer in layers] == [0, 1, 2]
    for layer, weights in zip(layers, reference.attentions, strict=True):
        assert layer.weights.dtype == torch.float32
        assert torch.equal(layer.weights, weights[0])
        assert layer.support == ("full" if model.config.model_type == "bert" else "causal")
    assert torch.equal(output, unhooked)


def test_head_writes_add_up_to_what_the_layer_writes(architecture):
    model, path = architecture
    projection = model.get_submodule(path)
    written = []
    handle = projection.register_forward_hook(lambda module, inputs, output: written.append(output[0]))
    first = captured(model, token_ids(TOKENS))[0][0]
    handle.remove()
    assert first.head_outputs.shape[:2] == (TOKENS, 4)
    writes = torch.einsum("thw,hwd->td", first.head_outputs, first.output_projection)
    bias = 0 if projection.bias is None else projection.bias
    torch.testing.assert_close(writes + bias, written[0], rtol=1e-4, atol=1e-5)


def test_head_outputs_are_attention_times_values():
    model = tiny_model("llama", num_key_value_heads=2)
    values = []
    model.model.layers[0].self_attn.v_proj.register_forward_hook(lambda m, i, output: values.append(output[0]))
    first = captured(model, token_ids(TOKENS))[0][0]
    for head in range(4):
        shared = values[0].view(TOKENS, 2, 8)[:, head // 2]
        torch.testing.assert_close(first.head_outputs[:, head], first.weights[head] @ shared)


def test_a_window_wider_than_the_prompt_changes_nothing_and_a_narrow_one_hides_keys():
    attention = {}
    for window in (None, 64, TOKENS, 4):
        model = tiny_model("mistral", num_key_value_heads=2, sliding_window=window)
        attention[window] = torch.stack([layer.weights for layer in captured(model, token_ids(TOKENS))[0]])
    assert torch.equal(attention[64], attention[None])
    assert torch.equal(attention[TOKENS], attention[None])
    distance = torch.arange(TOKENS)[:, None] - torch.arange(TOKENS)
    assert (attention[4][..., distance >= 4] == 0).all()
    assert (attention[None][..., (distance >= 4)] > 0).all()


def test_gated_heads_are_captured_behind_the_gate():
    model = tiny_model("llama", num_key_value_heads=4)
    projection = model.model.layers[0].self_attn.o_proj
    handle = projection.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 3,))
    gated = captured(model, token_ids(TOKENS))[0][0]
    handle.remove()
    plain = captured(model, token_ids(TOKENS))[0][0]
    assert torch.equal(gated.head_outputs, plain.head_outputs * 3)


@pytest.mark.parametrize("name", ["grouped-query", "gpt2", "gpt2 upcast", "falcon", "bloom"])
def test_bfloat16_weights_are_the_rounded_ones_of_the_model(name):
    kind, changes, _ = ARCHITECTURES[name]
    model = tiny_model(kind, **changes).bfloat16()
    with torch.no_grad():
        reference = model(input_ids=token_ids(TOKENS), output_attentions=True).attentions
    layers, _ = captured(model, token_ids(TOKENS))
    for layer, weights in zip(layers, reference, strict=True):
        assert weights.dtype == torch.bfloat16
        assert torch.equal(layer.weights, weights[0].float())


def living_attention(tokens: int) -> int:
    """Number of attention matrices of several heads that are alive, views of one tensor counted once."""
    return len(
        {
            each.untyped_storage().data_ptr()
            for each in gc.get_objects()
            if type(each) is Tensor and each.shape[-2:] == (tokens, tokens) and each.numel() == 4 * tokens**2
        }
    )


@pytest.mark.parametrize("kind", ["llama", "falcon", "bloom"])
@pytest.mark.parametrize("keep", [False, True])
def test_one_layer_of_attention_is_alive_at_a_time(keep, kind):
    model = tiny_model(kind)
    tokens = 13  # no other test makes attention of this shape
    alive, kept = [], []

    def receive(attention: LayerAttention) -> None:
        alive.append(living_attention(tokens))
        if keep:
            kept.append(attention)

    with torch.no_grad(), capturing(model, receive):
        for seed in range(2):
            model(input_ids=token_ids(tokens, seed))
    assert alive == ([1, 2, 3, 4, 5, 6] if keep else [1] * 6)


@pytest.mark.parametrize(("kind", "within"), [("llama", "eager"), ("falcon", "eager")])
@pytest.mark.parametrize("failing", [False, True])
def test_the_model_is_left_as_it_was(failing, kind, within):
    model = tiny_model(kind)
    model.config._attn_implementation = "sdpa"

    def receive(attention: LayerAttention) -> None:
        assert model.config._attn_implementation == within
        if failing:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop") if failing else nullcontext():
        captured_by(model, receive)
    assert model.config._attn_implementation == "sdpa"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("kind", ["llama", "falcon"])
def test_a_failed_pass_does_not_count_towards_the_next(kind):
    model = tiny_model(kind)
    received: list[int] = []

    def receive(attention: LayerAttention) -> None:
        received.append(attention.layer)
        if len(received) == 2:
            raise RuntimeError("stop")

    with torch.no_grad(), capturing(model, receive):
        with pytest.raises(RuntimeError, match="stop"):
            model(input_ids=token_ids(TOKENS))
        model(input_ids=token_ids(TOKENS))
    assert received == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("kind", ["llama", "falcon"])
def test_two_models_are_captured_side_by_side_but_one_only_once(kind):
    models = [tiny_model(kind, seed=seed) for seed in range(2)]
    alone = [captured(model, token_ids(TOKENS))[0] for model in models]
    first: list[LayerAttention] = []
    second: list[LayerAttention] = []
    with torch.no_grad(), capturing(models[0], first.append), capturing(models[1], second.append):
        models[0](input_ids=token_ids(TOKENS))
        models[1](input_ids=token_ids(TOKENS))
        with pytest.raises(CaptureError, match="being captured already"), capturing(models[0], first.append):
            pass
    for together, expected in ((first, alone[0]), (second, alone[1])):
        assert all(torch.equal(a.weights, b.weights) for a, b in zip(together, expected, strict=True))


@pytest.mark.parametrize("name", ["eager", "sdpa"])
def test_a_model_beside_a_captured_one_attends_as_ever(name):
    """And blocks may end in any order."""
    beside, first, second = (tiny_model("llama", seed=seed) for seed in range(3))
    beside.config._attn_implementation = name
    way = capturing if name == "eager" else partial(capturing_statistics, names=())
    with torch.no_grad():
        before = beside(input_ids=token_ids(TOKENS))[0]
        blocks = [way(model, receive=lambda attention: None) for model in (first, second)]
        for block in blocks:
            block.__enter__()
        assert torch.equal(beside(input_ids=token_ids(TOKENS))[0], before)
        blocks[0].__exit__(None, None, None)
        second(input_ids=token_ids(TOKENS))  # raises where attention does not arrive
        blocks[1].__exit__(None, None, None)
        assert AttentionInterface().get(name) is (None if name == "eager" else sdpa_attention_forward)
        assert torch.equal(beside(input_ids=token_ids(TOKENS))[0], before)


# DeepSeek-V3.2 and its kin hide more keys than their mask does, but under names of transformers' own alone.
SPARSE = dict(
    num_key_value_heads=4, q_lora_rank=12, kv_lora_rank=10, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8,
    index_topk=3, index_n_heads=2, index_head_dim=16, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
    topk_group=1, first_k_dense_replace=3,
)  # fmt: skip


@pytest.mark.parametrize("kind", ["deepseek_v32", "glm_moe_dsa"])
def test_sparse_attention_stays_sparse(kind):
    model = tiny_model(kind, **SPARSE)
    ids = token_ids(TOKENS)
    reduced: list[CapturedStatistics] = []
    with torch.no_grad():
        eager = model(input_ids=ids, output_attentions=True)
        with capturing_statistics(model, (), reduced.append):
            model(input_ids=ids)
    layers, output = captured(model, ids)
    assert torch.equal(output, eager[0])
    for layer, found, weights in zip(layers, reduced, eager.attentions, strict=True):
        assert (weights > 0).sum(-1).max() == 3
        assert torch.equal(layer.weights, weights[0])
        received = found.statistics.heads["kept"].received
        torch.testing.assert_close(received, weights[0].double().mean(1), rtol=0, atol=1e-6)


def test_layers_of_a_hybrid_keep_their_own_index():
    config = Lfm2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        layer_types=["conv", "full_attention", "conv", "full_attention"],
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    layers, _ = captured(model, token_ids(TOKENS))
    assert [layer.layer for layer in layers] == [1, 3]
    assert [layer.index for layer in attention_layers(model)] == [1, 3]


def test_the_modules_own_count_is_the_layer():
    model = tiny_model("llama", num_key_value_heads=4, use_cache=False)
    model.model.layers[1].self_attn.layer_idx = 7
    assert [layer.layer for layer in captured(model, token_ids(TOKENS))[0]] == [0, 7, 2]


@pytest.mark.parametrize("kind", ["mamba", "big_bird"])
def test_a_model_without_attention_that_could_be_captured_is_refused_by_name(kind):
    shape = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2)
    heads = {} if kind == "mamba" else dict(num_attention_heads=4, is_decoder=True)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape, **heads))
    with pytest.raises(CaptureError, match=f"'{kind}' has no attention that can be captured"):
        attention_layers(model)


def test_a_module_that_returns_no_weights_is_refused_by_name():
    config = AutoConfig.for_model("rwkv", vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2)
    with pytest.raises(CaptureError, match="'rwkv': layer 0: RwkvSelfAttention returns no attention weights"):
        captured(AutoModelForCausalLM.from_config(config).eval(), token_ids(TOKENS))


def test_scores_are_not_taken_for_weights():
    model = tiny_model("bloom")
    first = model.transformer.h[0].self_attention
    first.register_forward_hook(lambda module, inputs, output: (output[0], output[1] - 0.5))
    with pytest.raises(CaptureError, match="'bloom': layer 0: BloomAttention returns no attention weights"):
        captured(model, token_ids(TOKENS))


def test_flash_attention_outside_the_interface_is_refused():
    model = tiny_model("falcon")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(CaptureError, match="'falcon' was loaded with flash attention"):
        attention_layers(model)


def test_a_projection_that_is_not_called_as_a_module_is_refused():
    model = tiny_model("bloom", pretraining_tp=2, slow_but_exact=True)
    with pytest.raises(CaptureError, match="set slow_but_exact to false"):
        captured(model, token_ids(TOKENS))


def test_an_encoder_with_a_decoder_is_refused():
    config = BartConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
    )
    with pytest.raises(CaptureError, match="'bart' has several attention modules in layer 0"):
        attention_layers(AutoModelForSeq2SeqLM.from_config(config))


def test_a_layer_that_attends_twice_is_refused():
    model = tiny_model("llama", num_key_value_heads=4, use_cache=False)
    module = model.model.layers[1].self_attn
    once = module.forward
    module.forward = lambda *inputs, **options: (once(*inputs, **options), once(*inputs, **options))[1]
    with pytest.raises(CaptureError, match="'llama': layer 1: attention is computed several times"):
        captured(model, token_ids(TOKENS))


def test_layers_that_share_a_module_are_refused():
    model = tiny_model("albert", embedding_size=16)
    with pytest.raises(CaptureError, match=r"'albert': by its configuration 3 layers .* 1 modules"):
        captured(model, token_ids(TOKENS))
    assert model.config._attn_implementation == "eager"


def test_missing_layers_are_named():
    model = tiny_model("llama", num_key_value_heads=4)
    model.model.layers[1].self_attn.forward = lambda hidden_states, **_: (hidden_states, None)
    with pytest.raises(CaptureError, match="no attention arrived from layers 1 of 3"):
        captured(model, token_ids(TOKENS))


def test_a_lost_causal_mask_is_an_error():
    model = tiny_model("llama", num_key_value_heads=4)
    mask = torch.zeros(1, 1, TOKENS, TOKENS)
    with (
        torch.no_grad(),
        capturing(model, lambda attention: None),
        pytest.raises(CaptureError, match="layer 0: causal attention looks at future tokens"),
    ):
        model(input_ids=token_ids(TOKENS), attention_mask=mask)


@pytest.mark.parametrize("kind", ["mpnet", "layoutlm", "xlm", "flaubert"])
def test_an_encoder_that_declares_nothing_is_no_causal_model_whose_mask_was_lost(kind):
    architecture = next(each for each in EVERY_ARCHITECTURE.values() if each.model_type == kind)
    config = AutoConfig.for_model(kind, **architecture.config)
    model = language_model_class(config).from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        eager = model(input_ids=token_ids(TOKENS), output_attentions=True).attentions
    layers, _ = captured(model, token_ids(TOKENS))
    for layer, weights in zip(layers, eager, strict=True):
        assert layer.support == "full"
        assert torch.equal(layer.weights, weights[0])


@pytest.mark.parametrize("way", [capturing, partial(capturing_statistics, names=())])
def test_a_query_without_a_key_is_not_called_a_lost_mask(way):
    model = tiny_model("llama", num_key_value_heads=4)
    mask = torch.ones(1, 1, TOKENS, TOKENS, dtype=torch.bool).tril(-1)
    mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    refused = pytest.raises(CaptureError, match="'llama': layer 0: the mask leaves a query no key to look at")
    with torch.no_grad(), way(model, receive=lambda attention: None), refused:
        model(input_ids=token_ids(TOKENS), attention_mask=mask)


@pytest.mark.parametrize("kind", ["llama", "falcon"])
@pytest.mark.parametrize("way", [capturing, partial(capturing_statistics, names=())])
def test_layers_that_attend_in_a_way_of_their_own_are_missed(kind, way):
    """Beside layers that are captured, nobody would notice."""
    model = tiny_model(kind)
    decoder_layers = model.model.layers if kind == "llama" else model.transformer.h
    name = "self_attn" if kind == "llama" else "self_attention"
    own = type("Mixer", (torch.nn.Module,), {"forward": lambda self, hidden_states, *_, **__: (hidden_states, None)})()
    setattr(decoder_layers[1], name, own)
    refused = pytest.raises(CaptureError, match=f"'{kind}': by its configuration 3 layers have .* 2 modules can be")
    with refused, way(model, receive=lambda attention: None):
        pass


@pytest.mark.parametrize("kind", ["llama", "falcon"])
@pytest.mark.parametrize("way", [capturing, partial(capturing_statistics, names=())])
def test_training_mode_is_refused_even_in_one_layer(kind, way):
    model = tiny_model(kind)
    attention_layers(model)[1].module.train()
    with torch.no_grad(), way(model, receive=lambda attention: None):
        with pytest.raises(CaptureError, match=f"'{kind}': it is in training mode"):
            model(input_ids=token_ids(TOKENS))
        model.eval()
        model(input_ids=token_ids(TOKENS))


def test_a_mask_of_heads_is_refused():
    model = tiny_model("llama")
    with torch.no_grad(), capturing(model, lambda attention: None), pytest.raises(CaptureError, match="a head_mask"):
        model(input_ids=token_ids(TOKENS), head_mask=torch.zeros(3, 4))


@pytest.mark.parametrize("kind", ["llama", "mistral", "falcon", "gpt2"])
def test_a_cache_that_starts_empty_changes_nothing(kind):
    model = tiny_model(kind, num_key_value_heads=2, sliding_window=4)
    attention = []
    for use_cache in (True, False):
        layers: list[LayerAttention] = []
        with torch.no_grad(), capturing(model, layers.append):
            model(input_ids=token_ids(TOKENS), use_cache=use_cache)
        attention.append(torch.stack([layer.weights for layer in layers]))
    assert torch.equal(*attention)


@pytest.mark.parametrize("kind", ["llama", "falcon"])
def test_a_batch_is_refused(kind):
    model = tiny_model(kind)
    with pytest.raises(CaptureError, match="one whole prompt at a time"):
        captured(model, token_ids(TOKENS).repeat(2, 1))


def test_one_token_has_the_support_of_its_model():
    assert captured(tiny_model("llama", num_key_value_heads=4), token_ids(1))[0][0].support == "causal"
    assert captured(tiny_model("bert"), token_ids(1))[0][0].support == "full"
