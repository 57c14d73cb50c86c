"""Noise arrives where a site says, and nowhere else."""

from contextlib import nullcontext

import pytest
import torch
from attention_examples import ARCHITECTURES, tiny_model, token_ids
from noise_examples import subject, texts

from headwise.analyses.noise.dose import Dose
from headwise.analyses.noise.draws import NoiseRow, standard_noise
from headwise.analyses.noise.settings import SITES, Region, Scale, Site
from headwise.analyses.noise.sites import PerturbationError, clean_rms, perturbing, region_layers
from headwise.attention.capture import attention_layers, capturing

TOKENS = 9
ROWS = (NoiseRow(0, "text"),)
OUTSIDE_INTERFACE = ("falcon", "falcon alibi", "bloom")


def model_of(name):
    kind, changes, _ = ARCHITECTURES[name]
    return tiny_model(kind, **changes)


def noise_of(layer, shape):
    return standard_noise(1, ROWS, layer, shape)


def run(model, site=None, layers=(), noise=noise_of):
    """Inputs of each layer's block and what its output projection gives, with weights of the first layer."""
    seen, weights = {}, {}
    hooks = []
    for layer in attention_layers(model):
        hooks.append(
            layer.projection.register_forward_hook(
                lambda module, _, output, index=layer.index: seen.__setitem__(("given", index), output.detach().clone())
            )
        )
    perturbed = perturbing(model, site, layers, noise) if site else nullcontext()
    with (
        torch.inference_mode(),
        capturing(model, lambda each: weights.__setitem__(each.layer, each.weights)),
        perturbed,
    ):
        output = model(input_ids=token_ids(TOKENS), use_cache=False)
    for hook in hooks:
        hook.remove()
    return output[0], seen, weights


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("site", SITES)
def test_no_noise_changes_nothing_and_hooks_are_gone_afterwards(name, site):
    model = model_of(name)
    if site == Site.ATTENTION_LOGITS and name in OUTSIDE_INTERFACE:
        pytest.skip("refused: tested below")
    clean, _, _ = run(model)
    zero, _, _ = run(model, site, [0, 1, 2], lambda layer, shape: torch.zeros(1, *shape))
    noisy, _, _ = run(model, site, [0, 1, 2])
    after, _, _ = run(model)
    assert torch.equal(clean, zero)
    assert torch.equal(clean, after)
    assert not torch.allclose(clean, noisy, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in OUTSIDE_INTERFACE])
def test_noise_in_the_logits_multiplies_weights_by_its_exponential(name):
    model = model_of(name)
    _, _, clean = run(model)
    _, _, noisy = run(model, Site.ATTENTION_LOGITS, [0])
    factor = noise_of(0, (4, TOKENS, TOKENS))[0].exp()
    expected = clean[0] * factor
    torch.testing.assert_close(noisy[0], expected / expected.sum(-1, keepdim=True), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", OUTSIDE_INTERFACE)
def test_logits_that_cannot_be_reached_are_refused_by_model_type(name):
    model = model_of(name)
    with pytest.raises(PerturbationError, match=f"'{ARCHITECTURES[name][0]}'.*attention_logits cannot be reached"):
        run(model, Site.ATTENTION_LOGITS, [0])


@pytest.mark.parametrize("name", ["multi-head", "gpt2", "gemma2", "bert", "bloom", "falcon"])
def test_noise_after_the_output_projection_is_added_to_what_it_gives(name):
    model = model_of(name)
    if name == "bloom":
        model.config.slow_but_exact = False
    _, clean, _ = run(model)
    # The hook that records is older than the one that adds: what is added is seen by the layers that follow only.
    _, noisy, _ = run(model, Site.ATTENTION_OUTPUT, [2])
    assert torch.equal(clean["given", 0], noisy["given", 0])
    assert torch.equal(clean["given", 1], noisy["given", 1])
    projection = attention_layers(model)[0].projection
    with torch.inference_mode(), perturbing(model, Site.ATTENTION_OUTPUT, [0], noise_of):
        given = projection(torch.zeros(1, TOKENS, projection.weight.shape[1 if name != "gpt2" else 0]))
    without = projection(torch.zeros(1, TOKENS, projection.weight.shape[1 if name != "gpt2" else 0]))
    torch.testing.assert_close(given - without, noise_of(0, tuple(given.shape[1:])))


def test_noise_in_the_residual_stream_is_added_to_a_layers_input():
    model = tiny_model("llama", num_key_value_heads=2)
    inputs = []
    block = model.model.layers[1]
    with torch.inference_mode():
        for site in (None, Site.RESIDUAL):
            # Hooks on what reads the input: its norm, and the sum after attention.
            hook = block.input_layernorm.register_forward_pre_hook(lambda module, args: inputs.append(args[0].clone()))
            if site:
                with perturbing(model, site, [1], noise_of):
                    model(input_ids=token_ids(TOKENS), use_cache=False)
            else:
                model(input_ids=token_ids(TOKENS), use_cache=False)
            hook.remove()
    torch.testing.assert_close(inputs[1] - inputs[0], noise_of(1, (TOKENS, 32)), atol=1e-5, rtol=1e-5)


def test_regions_are_thirds_of_the_attention_layers():
    model = tiny_model("llama", num_hidden_layers=7)
    assert region_layers(model, "all") == list(range(7))
    parts = [region_layers(model, region) for region in ("early", "middle", "late")]
    assert parts == [[0, 1], [2, 3], [4, 5, 6]]
    with pytest.raises(PerturbationError, match=r"'llama'.*'early' of 2 attention layers holds no layer"):
        region_layers(tiny_model("llama", num_hidden_layers=2), "early")


def test_relative_doses_are_in_units_of_the_clean_rms():
    """Noise of relative σ has, in every layer, σ times the mean square that was measured by hand."""
    one = subject()
    given = {}
    for layer in attention_layers(one.model):
        layer.projection.register_forward_hook(
            lambda module, _, output, index=layer.index: given.__setitem__(index, output.clone())
        )
    with torch.inference_mode():
        one.model(input_ids=texts(), use_cache=False)
    expected = {layer: float(output.double().square().mean().sqrt()) for layer, output in given.items()}
    assert one.rms(Site.ATTENTION_OUTPUT) == pytest.approx(expected)
    rows = tuple(NoiseRow(0, str(text)) for text in range(3))
    clean = given[0].clone()
    with torch.inference_mode(), one.under(Dose(Site.ATTENTION_OUTPUT, Scale.RELATIVE, Region.EARLY, 2.0), rows):
        added = one.model.model.layers[0].self_attn.o_proj(torch.zeros(3, 12, 32))
    torch.testing.assert_close(added, 2.0 * expected[0] * standard_noise(1, rows, 0, (12, 32)))
    assert clean.shape == added.shape


def test_rms_of_the_logits_is_that_of_scores_about_the_mean_of_their_row():
    """Against scores that are computed from queries and keys by hand, for GPT-2 with its learned positions."""
    model = tiny_model("gpt2")
    block = model.transformer.h[0]
    total, count = 0.0, 0
    with torch.inference_mode():
        for row in texts():
            hidden = model.transformer.wte(row) + model.transformer.wpe(torch.arange(len(row)))
            query, key, _ = block.attn.c_attn(block.ln_1(hidden)).split(32, dim=-1)
            query, key = (each.view(len(row), 4, 8).transpose(0, 1).double() for each in (query, key))
            scores = query @ key.mT / 8**0.5
            for head in range(4):
                for position in range(len(row)):
                    visible = scores[head, position, : position + 1]
                    total += float((visible - visible.mean()).square().sum())
                    count += position + 1
    assert clean_rms(model, Site.ATTENTION_LOGITS, texts())[0] == pytest.approx((total / count) ** 0.5, rel=1e-3)


def test_noise_depends_on_seed_draw_text_and_layer_alone():
    one, two = NoiseRow(0, "a"), NoiseRow(0, "b")
    alone = standard_noise(1, (one,), 0, (5, 4))
    together = standard_noise(1, (two, one), 0, (5, 4))
    assert torch.equal(alone[0], together[1])
    assert torch.equal(standard_noise(1, (one,), 0, (9, 4))[:, :5], alone)
    others = [
        standard_noise(2, (one,), 0, (5, 4)), standard_noise(1, (NoiseRow(1, "a"),), 0, (5, 4)),
        standard_noise(1, (two,), 0, (5, 4)), standard_noise(1, (one,), 1, (5, 4)),
    ]  # fmt: skip
    assert all(not torch.equal(alone, other) for other in others)
    many = standard_noise(1, tuple(NoiseRow(draw, "a") for draw in range(50)), 0, (20, 20))
    assert abs(float(many.mean())) < 0.03
    assert float(many.std()) == pytest.approx(1, abs=0.03)
