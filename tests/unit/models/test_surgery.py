"""Duplicated key and value heads: the same function, attention and response to noise, in every grouped architecture."""

from functools import cache
from pathlib import Path

import pytest
import torch
from architecture_examples import ARCHITECTURES, TOKENS, save_tiny
from attention_examples import save_checkpoint, tiny_model, token_ids
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from headwise.analyses.noise.draws import NoiseRow, standard_noise
from headwise.analyses.noise.settings import Site
from headwise.analyses.noise.sites import perturbing, region_layers
from headwise.attention.capture import LayerAttention, capturing
from headwise.models.architecture import architecture_facts, language_model_class
from headwise.models.checkpoint import CheckpointError, weights_digest
from headwise.models.load import load_checkpoint
from headwise.models.surgery import SurgeryError, duplicate_checkpoint, duplicate_key_value_heads

GROUPED = [name for name, each in ARCHITECTURES.items() if each.attention in ("grouped-query", "multi-query")]
# Multi-head through either way of attending, latent, and an encoder.
OTHERS = ["GPT-2", "BLOOM", "Llama, multi-head", "DeepSeek-V3", "BERT"]
# Rounding of float32 in another order of sums, relative to the largest logit.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Each grouped architecture and its twin, both as loaded from disk."""

    @cache
    def load(name: str):
        folder = tmp_path_factory.mktemp("surgery")
        original = save_tiny(ARCHITECTURES[name], folder / "original")
        duplicate_checkpoint(original, folder / "duplicated")
        return load_checkpoint(original)[0], load_checkpoint(folder / "duplicated")[0]

    return load


def logits_and_attention(model):
    layers: list[LayerAttention] = []
    with torch.inference_mode(), capturing(model, layers.append):
        logits = model(input_ids=token_ids(TOKENS), use_cache=False).logits
    return logits, torch.stack([layer.weights for layer in layers])


@pytest.mark.slow
@pytest.mark.parametrize("name", GROUPED)
def test_the_twin_computes_the_same_with_as_many_key_value_heads_as_heads(name, pair):
    model, twin = pair(name)
    facts, before = architecture_facts(twin.config), architecture_facts(model.config)
    assert facts["attention"] == "multi-head"
    unchanged = set(facts) - {"attention", "key_value_heads", "key_value_ratio", "crowding", "parameters"}
    assert {key: facts[key] for key in unchanged} == {key: before[key] for key in unchanged}
    (logits, attention), (again, attention_again) = map(logits_and_attention, (model, twin))
    assert float((logits - again).abs().max() / logits.abs().max()) < TOLERANCE
    torch.testing.assert_close(attention, attention_again, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", GROUPED)
def test_the_twin_responds_alike_to_noise(name, pair):
    def perturbed(model):
        rows = (NoiseRow(0, "text"),)
        with (
            torch.inference_mode(),
            perturbing(
                model,
                Site.ATTENTION_OUTPUT,
                region_layers(model, "all"),
                lambda layer, shape: 0.5 * standard_noise(1, rows, layer, shape),
            ),
        ):
            return model(input_ids=token_ids(TOKENS), use_cache=False).logits

    model, twin = pair(name)
    clean, _ = logits_and_attention(model)
    noisy, again = map(perturbed, (model, twin))
    scale = float(clean.abs().max())
    assert float((noisy - clean).abs().max()) / scale > 1e-2
    # A router of experts may decide otherwise on a tie within rounding: none of these does.
    assert float((noisy - again).abs().max()) / scale < 10 * TOLERANCE


@pytest.mark.parametrize("name", OTHERS)
def test_what_has_no_shared_heads_is_refused_by_name(name):
    config = AutoConfig.for_model(ARCHITECTURES[name].model_type, **ARCHITECTURES[name].config)
    model = language_model_class(config).from_config(config)
    with pytest.raises(SurgeryError, match=f"'{ARCHITECTURES[name].model_type}'.*multi-head"):
        duplicate_key_value_heads(model)


def test_keys_and_values_are_copies_of_those_that_query_heads_read():
    model = tiny_model("llama", num_key_value_heads=2)
    twin = duplicate_key_value_heads(model)
    for layer, copied in zip(model.model.layers, twin.model.layers, strict=True):
        for name in ("k_proj", "v_proj"):
            heads = getattr(layer.self_attn, name).weight.view(2, 8, 32)
            copies = getattr(copied.self_attn, name).weight.view(4, 8, 32)
            for head in range(4):
                assert torch.equal(copies[head], heads[head // 2])


def test_the_original_and_the_random_state_are_left_alone():
    model = tiny_model("mistral", num_key_value_heads=1)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    duplicate_key_value_heads(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.config.num_key_value_heads == 1
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_head_that_is_missing_stays_missing(tmp_path: Path):
    folder = save_checkpoint(tiny_model("llama", num_key_value_heads=2), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    duplicate_checkpoint(folder, tmp_path / "copy")
    assert "lm_head.weight" not in load_file(tmp_path / "copy" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"copy: 'lm_head\.weight' is in no file of weights"):
        load_checkpoint(tmp_path / "copy", head=True)


def test_a_checkpoint_keeps_its_precision_and_is_written_alike_twice(tmp_path: Path):
    folder = save_checkpoint(tiny_model("llama", num_key_value_heads=2).bfloat16(), tmp_path / "model")
    for name in ("one", "two"):
        duplicate_checkpoint(folder, tmp_path / name)
    assert load_checkpoint(tmp_path / "one", "bfloat16")[0].dtype == torch.bfloat16
    assert weights_digest(tmp_path / "one") == weights_digest(tmp_path / "two") != weights_digest(folder)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("one", "model")]
    assert sizes[0] < 1.5 * sizes[1]


def test_a_layout_that_is_not_known_is_refused_by_parameter():
    model = tiny_model("stablelm", num_key_value_heads=2, qk_layernorm=True)
    with pytest.raises(SurgeryError, match=r"'stablelm'.*k_layernorm.*add the layout"):
        duplicate_key_value_heads(model)


def test_a_wrong_result_is_refused(monkeypatch):
    import headwise.models.surgery as surgery

    monkeypatch.setattr(surgery, "_repeat", lambda weight, groups, heads: weight.repeat(heads // groups, 1))
    with pytest.raises(SurgeryError, match=r"'llama'.*logits differ"):
        duplicate_key_value_heads(tiny_model("llama", num_key_value_heads=2))
