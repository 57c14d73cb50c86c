"""What is measured on the models of refits: residual streams, ablation, norms; against their definitions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_examples import decoder, write_corpus, write_tokenizer
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPTBigCodeConfig,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    OPTConfig,
    Qwen2Config,
)

from headwise.analyses.stability.ablation import ablated_losses, mean_outputs, value_biases
from headwise.analyses.stability.cka import (
    LINEAR_DEBIASED,
    RBF_BIASED,
    RBF_DEBIASED,
    SAMPLED_EXAMPLES,
    cka,
    median_squared_distance,
)
from headwise.analyses.stability.importance import by_length, head_importance
from headwise.analyses.stability.names import AFTER, BEFORE, PROMPTS
from headwise.analyses.stability.random_weights import random_model, write_attention
from headwise.analyses.stability.residual import residual_streams
from headwise.analyses.stability.weights import layer_norms
from headwise.attention.store import stream
from headwise.models import resources
from headwise.models.tokenizer import load_tokenizer
from headwise.models.zoo import build_decoder
from headwise.study.prompts import EncodedPrompt

TOKENS = torch.arange(20)[None] + 5


# -- CKA


def streams(refits=3, examples=31, features=6, seed=0):
    """Representations of the same examples that have something in common."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(examples, features))
    return [common @ rng.normal(size=(features, features)) + rng.normal(size=common.shape) for _ in range(refits)]


def direct_cka(one, two, kernel):
    """CKA from N×N matrices: centred for the biased estimate, by the sums of Song et al. (2012) for the debiased."""
    matrices = []
    for x in (one, two):
        if kernel == LINEAR_DEBIASED:
            matrices.append(x @ x.T)
        else:
            distances = np.array([[np.sum((a - b) ** 2) for b in x] for a in x])
            matrices.append(np.exp(-distances / (2 * np.median(distances))))
    n = len(one)

    def hsic(k, m):
        if kernel == RBF_BIASED:
            centre = np.eye(n) - 1 / n
            return np.trace(k @ centre @ m @ centre)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        ones = np.ones(n)
        total = np.trace(k @ m) + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
        return total - 2 / (n - 2) * (ones @ k @ m @ ones)

    k, m = matrices
    return hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))


@pytest.mark.parametrize("kernel", [RBF_BIASED, RBF_DEBIASED, LINEAR_DEBIASED])
@pytest.mark.parametrize("examples", [30, 31])
def test_cka_is_its_definition_on_whole_matrices(kernel, examples, monkeypatch):
    monkeypatch.setattr("headwise.analyses.stability.cka.BLOCK_VALUES", 200)  # several blocks
    refits = streams(examples=examples)
    found = cka(refits)[kernel]
    for i, one in enumerate(refits):
        for j, two in enumerate(refits):
            assert found[i, j] == pytest.approx(direct_cka(one, two, kernel), abs=1e-9)


@given(st.integers(2, 40), st.integers(0, 2**16))
@settings(max_examples=40, deadline=None)
def test_the_median_distance_is_that_of_the_whole_matrix(examples, seed):
    x = np.random.default_rng(seed).integers(-3, 4, size=(examples, 2)).astype(float)  # with many ties
    distances = ((x[:, None] - x) ** 2).sum(-1)
    assert median_squared_distance(x - x.mean(0)) == pytest.approx(np.median(distances), abs=1e-9)


def test_a_representation_is_like_itself_rotated_and_scaled():
    (x,) = streams(1)
    turned = 3 * x @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0] + 5
    for values in cka([x, turned]).values():
        np.testing.assert_allclose(values, 1, atol=1e-9)


def test_debiased_cka_of_unrelated_representations_is_near_zero_where_the_biased_is_not():
    rng = np.random.default_rng(2)
    found = cka([rng.normal(size=(200, 100)) for _ in range(2)])
    assert found[RBF_BIASED][0, 1] > 0.4
    assert abs(found[RBF_DEBIASED][0, 1]) < 0.05
    assert abs(found[LINEAR_DEBIASED][0, 1]) < 0.05


def test_what_does_not_vary_has_no_similarity():
    (x,) = streams(1)
    for values in cka([x, np.ones_like(x)]).values():
        assert np.isnan(values[0, 1])
        assert np.isnan(values[1, 1])
    assert np.isnan(cka([x[:3], x[:3]])[LINEAR_DEBIASED]).all()


# -- residual streams


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    documents = write_corpus(tmp_path_factory.mktemp("corpus"))
    return load_tokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer"), documents))


def by_hand(model):
    """The residual stream of the decoders of the zoo, module by module."""
    gpt2 = hasattr(model, "transformer")
    body = model.transformer if gpt2 else model.model
    hidden = body(TOKENS, output_hidden_states=True).hidden_states
    mask = torch.full((20, 20), -torch.inf).triu(1)[None, None]
    found = {}
    for index, layer in enumerate(body.h if gpt2 else body.layers):
        entered = hidden[index]
        if gpt2:
            written = layer.attn(layer.ln_1(entered), attention_mask=mask)[0]
        else:
            places = body.rotary_emb(entered, torch.arange(TOKENS.shape[1])[None])
            written = layer.self_attn(layer.input_layernorm(entered), places, mask)[0]
        for site, value in ((BEFORE, entered), (AFTER, entered + written)):
            found[index, site] = value[0].double() - (value[0].double().mean(-1, keepdim=True) if gpt2 else 0)
    return found


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@torch.no_grad()
def test_the_residual_stream_is_what_the_modules_pass_on(tokenizer, architecture):
    model = build_decoder(decoder(architecture=architecture), tokenizer, 1).eval()
    model.set_attn_implementation("eager")
    with residual_streams(model) as current:
        model(TOKENS)
        found = dict(current)
    expected = by_hand(model)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-5, rtol=0)
    assert not model.transformer.h[0]._forward_pre_hooks if architecture == "gpt2" else True


@torch.no_grad()
def test_where_attention_adds_and_normalises_itself_its_result_is_the_stream():
    config = BertConfig(vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    model = BertForMaskedLM(config).eval()
    taken = []
    handle = model.bert.encoder.layer[1].attention.register_forward_hook(lambda m, i, out: taken.append(out[0][0]))
    with residual_streams(model) as current:
        model(TOKENS)
    handle.remove()
    expected = taken[0].double()
    torch.testing.assert_close(current[1, AFTER], expected - expected.mean(-1, keepdim=True))


# -- ablation


@torch.no_grad()
def test_zero_ablation_is_an_output_matrix_without_the_heads_rows(tokenizer):
    model = build_decoder(decoder(layers=1), tokenizer, 1).eval()
    batches = [(TOKENS[:, :-1], TOKENS[:, 1:]), (TOKENS[:, :9], TOKENS[:, 1:10])]
    found, whole = ablated_losses(model, batches, copies=3)
    assert found.shape == (1, 4, 2)
    weight = model.model.layers[0].self_attn.o_proj.weight
    for head in range(4):
        kept = weight.clone()
        weight[:, 8 * head : 8 * head + 8] = 0
        for text, (inputs, targets) in enumerate(batches):
            logits = model(inputs).logits[0]
            expected = torch.nn.functional.cross_entropy(logits, targets[0]).item()
            assert found[0, head, text].item() == pytest.approx(expected, abs=1e-6)
        weight.copy_(kept)
    for text, (inputs, targets) in enumerate(batches):
        expected = torch.nn.functional.cross_entropy(model(inputs).logits[0], targets[0]).item()
        assert whole[text].item() == pytest.approx(expected, abs=1e-6)


def test_texts_of_many_words_are_ablated_one_after_another_with_the_same_result(tokenizer, monkeypatch):
    model = build_decoder(decoder(), tokenizer, 1).eval()
    batches = [(TOKENS[:, :-1], TOKENS[:, 1:]), (TOKENS[:1, :-3], TOKENS[:1, 3:])]
    together, whole, sizes = *ablated_losses(model, batches), []
    monkeypatch.setattr(resources, "LOGITS_BYTES", 1)
    model.register_forward_hook(lambda module, inputs, output: sizes.append(len(output.logits)))
    found = ablated_losses(model, batches)
    assert set(sizes) == {1}
    torch.testing.assert_close(found, (together, whole), rtol=0, atol=1e-5)


@torch.no_grad()
def test_mean_ablation_of_an_output_that_is_always_the_same_costs_nothing(tokenizer):
    model = build_decoder(decoder(), tokenizer, 1).eval()
    batches = [(TOKENS[:, :-1], TOKENS[:, 1:])]
    attention = model.model.layers[1].self_attn
    attention.v_proj.weight[:8] = 0  # head 0 of layer 1 writes nothing, always
    found, whole = ablated_losses(model, batches, mean_outputs(model, [batches[0][0]]))
    assert found[1, 0].item() == pytest.approx(whole.item(), abs=1e-6)
    assert abs(found[1, 1].item() - whole.item()) > 1e-6
    assert mean_outputs(model, [TOKENS])[1, 0].abs().max() == 0


def perplexity(model, prompts):
    """Exp of the summed loss over the number of predicted tokens."""
    losses = [
        torch.nn.functional.cross_entropy(model(ids[None]).logits[0, :-1], ids[1:], reduction="sum").item()
        for ids in prompts
    ]
    return math.exp(sum(losses) / sum(len(ids) - 1 for ids in prompts))


@torch.no_grad()
def test_the_published_ablation_is_that_of_folded_value_biases(tokenizer):
    """Folding by hand: b_V W_O moves into the output bias, then the head's rows of W_O are set to zero."""
    model = build_decoder(decoder(architecture="gpt2"), tokenizer, 1).eval()
    generator = torch.Generator().manual_seed(2)
    for block in model.transformer.h:
        block.attn.c_attn.bias[64:] = torch.randn(32, generator=generator)
    prompts = [TOKENS[0], TOKENS[0, 3:14].flip(0), TOKENS[0, :7]]
    encoded = [EncodedPrompt(str(n), ids.tolist()) for n, ids in enumerate(prompts)]
    ablated = head_importance(model, by_length(encoded), PROMPTS, 0)
    found = {(row.layer, row.head): row.delta_perplexity for row in ablated.importance}
    zero = ablated_losses(model, [(TOKENS[:, :-1], TOKENS[:, 1:])])[0]

    whole = perplexity(model, prompts)
    for block in model.transformer.h:
        values = block.attn.c_attn.bias[64:]
        block.attn.c_proj.bias += values @ block.attn.c_proj.weight
        values.zero_()
    assert perplexity(model, prompts) == pytest.approx(whole, rel=1e-5)  # the same function
    moved = ablated_losses(model, [(TOKENS[:, :-1], TOKENS[:, 1:])])[0] - zero
    assert moved.abs().min() > 1e-5  # but not the same without a head
    for layer, block in enumerate(model.transformer.h):
        for head in range(4):
            kept = block.attn.c_proj.weight.clone()
            block.attn.c_proj.weight[8 * head : 8 * head + 8] = 0
            assert found[layer, head] == pytest.approx(perplexity(model, prompts) - whole, abs=3e-4)
            block.attn.c_proj.weight.copy_(kept)
    assert {row.replacement for row in ablated.importance} == {"value_bias"}
    assert ablated.losses[0].loss_nats == pytest.approx(math.log(whole), rel=1e-5)


def test_a_loss_beyond_all_perplexities_is_no_crash(tokenizer):
    model = build_decoder(decoder(layers=1), tokenizer, 1).eval()
    model.lm_head.weight.data.mul_(1e6)
    ablated = head_importance(model, by_length([EncodedPrompt("a", TOKENS[0].tolist())]), PROMPTS, 0)
    assert ablated.losses[0].loss_nats > 710
    assert all(row.delta_perplexity is None for row in ablated.importance)
    assert all(math.isfinite(row.delta_loss_nats) for row in ablated.importance)


SMALL = {"vocab_size": 60, "hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 2}
# Configuration, and the value biases of all query heads as the architecture lays them out.
LAYOUTS = {
    "gpt2": (
        GPT2Config(vocab_size=60, n_embd=16, n_head=4, n_layer=2),
        lambda model, layer: model.transformer.h[layer].attn.c_attn.bias[32:].view(4, 4),
    ),
    "gpt_neox": (
        GPTNeoXConfig(**SMALL, intermediate_size=24),
        lambda model, layer: model.gpt_neox.layers[layer].attention.query_key_value.bias.view(4, 3, 4)[:, 2],
    ),
    "qwen2": (
        Qwen2Config(**SMALL, intermediate_size=24, num_key_value_heads=2),
        lambda model, layer: model.model.layers[layer].self_attn.v_proj.bias.view(2, 4).repeat_interleave(2, 0),
    ),
    "gpt_bigcode": (
        GPTBigCodeConfig(vocab_size=60, n_embd=16, n_head=4, n_layer=2, multi_query=True),
        lambda model, layer: model.transformer.h[layer].attn.c_attn.bias[20:].expand(4, 4),
    ),
    "opt": (
        OPTConfig(**SMALL, ffn_dim=24, word_embed_proj_dim=16),
        lambda model, layer: model.model.decoder.layers[layer].self_attn.v_proj.bias.view(4, 4),
    ),
    "llama": (LlamaConfig(**SMALL, intermediate_size=24), lambda model, layer: torch.zeros(4, 4)),
}


@pytest.mark.parametrize("architecture", LAYOUTS)
@torch.no_grad()
def test_value_biases_are_found_wherever_a_model_keeps_them(architecture):
    config, of_layer = LAYOUTS[architecture]
    model = AutoModelForCausalLM.from_config(config).eval()
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.normal_()
    found = value_biases(model)
    for layer in range(2):
        torch.testing.assert_close(found[layer], of_layer(model, layer).contiguous())
    assert not any(module._forward_pre_hooks for module in model.modules())


# -- weights


@torch.no_grad()
def test_norms_of_side_by_side_and_head_by_head_matrices(tokenizer):
    gpt2 = build_decoder(decoder(architecture="gpt2"), tokenizer, 1)
    block = gpt2.transformer.h[1]
    q, k, v = block.attn.c_attn.weight.split(32, dim=1)
    found = layer_norms(gpt2, published=False)[1]
    expected = {
        "W_Q": q,
        "W_K": k,
        "W_V": v,
        "W_O": block.attn.c_proj.weight,
        "W_in": block.mlp.c_fc.weight,
        "W_out": block.mlp.c_proj.weight,
    }
    assert found == pytest.approx({name: matrix.norm().item() for name, matrix in expected.items()}, rel=1e-6)
    published = layer_norms(gpt2, published=True)[1]
    centred = block.attn.c_proj.weight - block.attn.c_proj.weight.mean(1, keepdim=True)
    assert published["W_O"] == pytest.approx(centred.norm().item(), rel=1e-6)
    assert published["W_Q"] == found["W_Q"]

    config = GPTNeoXConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
    )
    neox = GPTNeoXForCausalLM(config)
    joined = neox.gpt_neox.layers[0].attention.query_key_value.weight  # head 0: q, k, v; head 1: q, k, v
    queries = torch.cat([joined[0:8], joined[24:32]])
    assert layer_norms(neox, published=False)[0]["W_Q"] == pytest.approx(queries.norm().item(), rel=1e-6)


@torch.no_grad()
def test_gates_count_as_part_of_what_goes_in(tokenizer):
    llama = build_decoder(decoder(), tokenizer, 1)
    mlp = llama.model.layers[0].mlp
    both = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]).norm().item()
    assert layer_norms(llama, published=True)[0]["W_in"] == pytest.approx(both, rel=1e-6)


# -- random weights


def test_random_weights_depend_on_their_seed_alone_and_keep_silence(tokenizer, tmp_path):
    model = build_decoder(decoder(feed_forward=0), tokenizer, 1).eval()
    state = torch.get_rng_state()
    one, again, other = (random_model(model, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.lm_head.weight, again.lm_head.weight)
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)
    assert not any(weights.any() for name, weights in other.state_dict().items() if "mlp." in name)
    prompts = [EncodedPrompt("a", TOKENS[0].tolist()), EncodedPrompt("b", [3, 4])]
    write_attention(other, prompts, tmp_path / "random.parquet", {"study": "tiny"}, 2)
    layers = list(stream(tmp_path / "random.parquet"))
    assert [(each.prompt, each.layer, each.weights.shape) for each in layers] == [
        ("a", 0, (4, 20, 20)),
        ("a", 1, (4, 20, 20)),
        ("b", 0, (4, 2, 2)),
        ("b", 1, (4, 2, 2)),
    ]


def test_the_median_distance_is_found_where_a_few_examples_mislead():
    x = np.zeros((200, 1))
    # Every example that the guess is made from lies at one place, and nearly all others far apart.
    chosen = np.unique(np.linspace(0, 199, SAMPLED_EXAMPLES).astype(int))
    x[np.setdiff1d(np.arange(200), chosen), 0] = np.random.default_rng(0).normal(1e3, 300, size=200 - len(chosen))
    distances = (x - x.T) ** 2
    assert median_squared_distance(x) == pytest.approx(np.median(distances), rel=1e-9)
