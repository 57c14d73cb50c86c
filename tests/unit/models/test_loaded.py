"""Weights that were never loaded, or left over, are refused by name; a model with another head, or none, is loaded."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attention_examples import WIDE, save_checkpoint, tiny_model, token_ids
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedModel,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from headwise.analyses.noise.experiment import load_to_perturb
from headwise.analyses.recursion.chain import recurse
from headwise.analyses.stability.probe import probe_refits
from headwise.analyses.stability.settings import Stability
from headwise.models.align import align_model
from headwise.models.checkpoint import CheckpointError
from headwise.models.checks import ROPE_TYPES
from headwise.models.load import load_checkpoint, verify_loading
from headwise.models.quantizations import QUANTIZATIONS
from headwise.study.extraction import Extraction
from headwise.study.models import Loading
from headwise.study.reading import Reading
from headwise.study.training import Sft

Weights = dict[str, Tensor]
LAYER = "model.layers.1.self_attn"


def change(folder: Path, weights: Callable[[Weights], Weights] = dict, **config: object) -> Path:
    """The checkpoint with other weights, or another configuration."""
    changed = {name: value.clone() for name, value in weights(load_file(folder / "model.safetensors")).items()}
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    content = {**json.loads((folder / "config.json").read_text()), **config}
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def without(*ends: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: value for name, value in weights.items() if not name.endswith(ends)}


def having(**shapes: tuple[int, ...]) -> Callable[[Weights], Weights]:
    return lambda weights: weights | {name.replace("__", "."): torch.ones(shape) for name, shape in shapes.items()}


def under(prefix: str) -> Callable[[Weights], Weights]:
    return lambda weights: {prefix + name: value for name, value in weights.items()}


def attend(model: PreTrainedModel) -> Tensor:
    """What the body of a model computes."""
    with torch.inference_mode():
        return model.base_model(input_ids=token_ids(9)).last_hidden_state


REFUSED: dict[str, tuple[Callable[[Weights], Weights], dict[str, object], str]] = {
    "an unknown prefix": (
        under("student."),
        {},
        "'model.embed_tokens.weight' and 28 more are in no file of weights, and would be random numbers: they are "
        "there under the prefix 'student.': take it off",
    ),
    "the prefix of another head": (
        lambda weights: {name.replace("model.", "transformer."): value for name, value in weights.items()},
        {},
        "they are there as 'transformer.…' in place of 'model.…': rename them",
    ),
    "no embedding": (without("embed_tokens.weight"), {}, "'model.embed_tokens.weight' is in no file of weights"),
    "no query": (without("1.self_attn.q_proj.weight"), {}, f"'{LAYER}.q_proj.weight' is in no file of weights"),
    "no last norm": (without("model.norm.weight"), {}, "'model.norm.weight' is in no file"),
    "biases that config denies": (
        having(model__layers__1__self_attn__q_proj__bias=(32,)),
        {},
        f"'{LAYER}.q_proj.bias' is in the weights, where config.json describes a model without",
    ),
    "norms of queries": (
        having(model__layers__1__self_attn__q_norm__weight=(8,)),
        {},
        f"'{LAYER}.q_norm.weight' is in",
    ),
    "another embedding": (having(model__embed_positions__weight=(64, 32)), {}, "'model.embed_positions.weight' is in"),
    "the body alone, and another embedding": (
        lambda weights: {
            n.removeprefix("model."): w for n, w in having(embed_places__weight=(64, 32))(weights).items()
        },
        {},
        "'embed_places.weight' is in the weights",
    ),
    "biases that config wants": (
        dict,
        {"attention_bias": True},
        r"self_attn\.\w_proj\.bias' and 11 more are in no file",
    ),
    "fewer key and value heads": (
        dict,
        {"num_key_value_heads": 1},
        r"'model.layers.0.self_attn.k_proj.weight' has the shape \[16, 32\] in the weights and \[8, 32\] by config",
    ),
    "key and value heads null": (dict, {"num_key_value_heads": None}, r"has the shape \[16, 32\] in the weights and"),
    "wider layers": (dict, {"intermediate_size": 64}, r"mlp.* has the shape \[.*48.*\] in the weights and \[.*64.*\]"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_weights_that_are_not_the_models_are_refused_by_name(kind, tmp_path):
    weights, config, sentence = REFUSED[kind]
    folder = change(save_checkpoint(tiny_model("llama", num_key_value_heads=2), tmp_path), weights, **config)
    for load in (load_checkpoint, verify_loading):
        with pytest.raises(CheckpointError, match=sentence) as refusal:
            load(folder)
        assert str(refusal.value).startswith(f"{folder}: ")
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", ["no query", "norms of queries", "fewer key and value heads"])
def test_weights_that_are_spread_are_checked_as_well(kind, tmp_path):
    pytest.importorskip("accelerate", reason="accelerate comes with the extra `test`")
    weights, config, sentence = REFUSED[kind]
    folder = change(save_checkpoint(tiny_model("llama", num_key_value_heads=2), tmp_path), weights, **config)
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(folder, loading=Loading(device_map="auto"))


def test_layers_that_are_left_over_are_refused_also_where_they_cannot_be_counted(tmp_path):
    folder = save_checkpoint(tiny_model("gpt2"), tmp_path)
    two = lambda weights: weights | {"second.h.0.a": torch.ones(1)}  # noqa: E731 - two stacks, of which none is counted
    with pytest.raises(
        CheckpointError, match=r"'transformer\.h\.2\.attn\.c_attn\.weight' and .* more are in the weights"
    ):
        load_checkpoint(change(folder, two, n_layer=2))


def masks(path: str, *names: str) -> Callable[[Weights], Weights]:
    shapes = {"bias": (1, 1, 8, 8), "causal_mask": (1, 1, 8, 8), "masked_bias": (), "rotary_emb.inv_freq": (4,)}
    return lambda weights: (
        weights | {f"{path.format(layer)}.{name}": torch.ones(shapes[name]) for layer in range(3) for name in names}
    )


LOADED: dict[str, tuple[str, Callable[[Weights], Weights], dict[str, Any]]] = {
    "no head": ("llama", without("lm_head.weight"), {}),
    "the body alone": (
        "llama",
        lambda weights: {n.removeprefix("model."): w for n, w in without("lm_head.weight")(weights).items()},
        {},
    ),
    "the body alone, and a score": (
        "llama",
        lambda weights: {n.removeprefix("model."): w for n, w in having(score__weight=(1, 32))(weights).items()},
        {},
    ),
    "the body of GPT-2 alone": (
        "gpt2",
        lambda weights: {n.removeprefix("transformer."): w for n, w in weights.items()},
        {},
    ),
    "a reward model": ("llama", lambda weights: having(score__weight=(1, 32))(without("lm_head.weight")(weights)), {}),
    "a value head": ("llama", having(v_head__summary__weight=(1, 32), v_head__summary__bias=(1,)), {}),
    "heads that guess further": ("llama", having(medusa_head__0__weight=(32, 32)), {}),
    "layers that guess further": (
        "llama",
        lambda weights: weights | {n.replace(".2.", ".3."): w for n, w in weights.items() if ".2." in n},
        {"num_nextn_predict_layers": 1},
    ),
    "masks of GPT-2": ("gpt2", masks("transformer.h.{}.attn", "bias", "masked_bias"), {}),
    "masks of GPT-NeoX": (
        "gpt_neox",
        masks("gpt_neox.layers.{}.attention", "bias", "masked_bias", "rotary_emb.inv_freq"),
        {},
    ),
    "masks of CodeGen": ("codegen", masks("transformer.h.{}.attn", "causal_mask"), {"rotary_dim": 4}),
    "angles of Llama": ("llama", masks("model.layers.{}.self_attn", "rotary_emb.inv_freq"), {}),
}


@pytest.mark.parametrize("kind", LOADED)
def test_another_head_or_none_and_old_masks_are_loaded(kind, tmp_path):
    architecture, weights, changes = LOADED[kind]
    model = tiny_model(architecture, **changes)
    folder = change(save_checkpoint(model, tmp_path), weights)
    verify_loading(folder)
    # The model that was saved attends eagerly.
    torch.testing.assert_close(attend(load_checkpoint(folder)[0]), attend(model), rtol=1e-4, atol=1e-5)


def test_tied_weights_are_stored_once_under_either_name(tmp_path):
    model = tiny_model("llama", tie_word_embeddings=True)
    folder = save_checkpoint(model, tmp_path)
    renamed = lambda weights: {n.replace("model.embed_tokens", "lm_head"): w for n, w in weights.items()}  # noqa: E731
    for _ in range(2):
        loaded, _ = load_checkpoint(folder, head=True)
        assert loaded.headwise_random == ()
        torch.testing.assert_close(loaded(token_ids(9)).logits, model(token_ids(9)).logits, rtol=1e-4, atol=1e-5)
        change(folder, renamed)


@pytest.mark.parametrize("family", [BertModel, BertForPreTraining, BertForSequenceClassification, AutoModelForMaskedLM])
def test_an_encoder_is_loaded_whatever_it_was_trained_for(family, tmp_path):
    config = BertConfig(**WIDE)
    make = family.from_config if family is AutoModelForMaskedLM else family
    model = make(config).eval()
    loaded, _ = load_checkpoint(save_checkpoint(model, tmp_path))
    assert torch.equal(attend(loaded), model.base_model(input_ids=token_ids(9)).last_hidden_state)
    has_head = hasattr(model, "cls")
    assert bool(loaded.headwise_random) != has_head


def test_what_predicts_needs_the_head(tmp_path):
    config = LlamaConfig(**{**WIDE, "num_labels": 1})
    reward = save_checkpoint(LlamaForSequenceClassification(config), tmp_path / "reward")
    assert load_checkpoint(reward)[0].headwise_random == ("lm_head.weight",)
    for load in (load_checkpoint, verify_loading):
        with pytest.raises(CheckpointError, match=r"reward: 'lm_head\.weight' is in no file of weights, and without a"):
            load(reward, head=True)
    load_checkpoint(save_checkpoint(tiny_model("llama"), tmp_path / "whole"), head=True)


def losses_under_noise(folder: Path) -> object:
    return load_to_perturb(Reading("m", folder, Extraction(), Loading()))


def recursion(folder: Path) -> object:
    nothing: Any = None
    return recurse(
        folder, folder, nothing, nothing, Extraction(), Loading(), [], 0, folder, folder, folder, metadata={}
    )


def ablation(folder: Path) -> object:
    prompts = folder / "prompts.jsonl"
    prompts.write_text('{"id": "a", "domain": "d", "text": "w3 w4"}\n')
    probes: Any = None
    settings = Stability(analyses=["ablation"])
    return probe_refits([Reading("m", folder, Extraction(), Loading())], prompts, probes, settings, {}, folder)


def alignment(folder: Path) -> object:
    return align_model(folder, folder, "sft", Sft(), 0, folder / "made", folder / "curve", {})


@pytest.mark.parametrize("measure", [losses_under_noise, recursion, ablation, alignment])
def test_losses_and_text_are_never_those_of_a_random_head(measure, tmp_path):
    folder = change(save_checkpoint(tiny_model("llama"), tmp_path), without("lm_head.weight"))
    with pytest.raises(
        CheckpointError, match=r"'lm_head\.weight' is in no file of weights, and without a language-model"
    ):
        measure(folder)


def test_eight_bit_floats_are_loaded_with_their_scales(tmp_path):
    pytest.importorskip("accelerate", reason="accelerate comes with the extra `test`")
    expected: Weights = {}

    def quantize(weights: Weights) -> Weights:
        stored: Weights = {}
        for name, weight in weights.items():
            expected[name] = stored[name] = weight
            if name.endswith("_proj.weight"):
                blocks = weight.view(weight.shape[0] // 16, 16, weight.shape[1] // 16, 16)
                scales = blocks.abs().amax((1, 3)) / 448  # the largest that E4M3 holds
                eight = (blocks / scales[:, None, :, None]).to(torch.float8_e4m3fn)
                expected[name] = (eight.float() * scales[:, None, :, None]).view_as(weight)
                stored |= {name: eight.view_as(weight), f"{name}_scale_inv": scales}
        return stored

    method = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [16, 16], "dequantize": True}
    folder = change(save_checkpoint(tiny_model("llama"), tmp_path), quantize, quantization_config=method)
    loaded, _ = load_checkpoint(folder)
    assert all(torch.equal(loaded.state_dict()[name], weight) for name, weight in expected.items())
    with pytest.raises(CheckpointError, match=r"q_proj\.weight' is in no file of weights"):
        load_checkpoint(change(folder, without("0.self_attn.q_proj.weight")))


def test_no_table_of_missing_tensors_is_printed(tmp_path, caplog, capfd):
    folder = change(save_checkpoint(tiny_model("llama"), tmp_path), without("lm_head.weight"))
    capfd.readouterr()
    load_checkpoint(folder)
    assert caplog.text == ""
    assert not capfd.readouterr().err.strip()


@pytest.mark.parametrize(
    "changes",
    [
        {"attn_implementation": "flash_attention_2"},
        {"_attn_implementation": "kernels-community/flash-attn3"},
        {"output_attentions": True, "output_hidden_states": True},
        {"return_dict": False},
        {"chunk_size_feed_forward": "many"},
    ],
)
def test_how_attention_is_computed_and_what_is_returned_is_our_choice(changes, tmp_path):
    folder = save_checkpoint(tiny_model("llama"), tmp_path)
    plain, _ = load_checkpoint(folder)
    loaded, _ = load_checkpoint(change(folder, **changes))
    assert loaded.config._attn_implementation == plain.config._attn_implementation == "sdpa"
    output = loaded(token_ids(9))
    assert torch.equal(output.logits, plain(token_ids(9)).logits)
    assert output.attentions is None


@pytest.mark.parametrize(
    ("kinds", "sentence"),
    [
        (["full_attention", "hybrid", "full_attention"], "hybrid"),
        (["full_attention", "sliding_attention", "full_attention"], "sliding_window"),
        (["full_attention", "chunked_attention", "full_attention"], "KeyError 'chunked_attention'"),
    ],
)
def test_kinds_of_layers_that_an_architecture_lacks_are_refused(kinds, sentence, tmp_path):
    model = tiny_model("qwen3", num_key_value_heads=2, head_dim=16)
    folder = save_checkpoint(model, tmp_path)
    change(folder, layer_types=["full_attention"] * 3)
    torch.testing.assert_close(attend(load_checkpoint(folder)[0]), attend(model), rtol=1e-4, atol=1e-5)
    change(folder, layer_types=kinds)
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{sentence}.*: correct layer_types"):
        load_checkpoint(folder)


def test_what_is_known_of_transformers_is_what_it_has():
    methods = {method.removesuffix("_4bit").removesuffix("_8bit") for method in AUTO_QUANTIZATION_CONFIG_MAPPING}
    assert methods - {"gguf"} <= set(QUANTIZATIONS)  # GGUF is a format of files of its own
    assert set(ROPE_INIT_FUNCTIONS) <= set(ROPE_TYPES)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hidden_act": "no_such_function"}, "no_such_function"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps"),
        ({"pad_token_id": [3]}, ""),
        ({"layer_types": ["unheard_of"] * 3}, "unheard_of"),
    ],
)
def test_what_transformers_refuses_is_said_in_one_sentence(changes, sentence, tmp_path):
    folder = change(save_checkpoint(tiny_model("llama"), tmp_path), **changes)
    with pytest.raises(CheckpointError, match=f"{re.escape(str(folder))}.*transformers cannot read it.*{sentence}"):
        load_checkpoint(folder)
