"""Converted weights against TransformerLens's forward pass, written down from its definition."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from attention_examples import VOCABULARY, token_ids, word_tokenizer
from models_examples import write_corpus, write_tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM

from headwise.attention.capture import capturing
from headwise.models.checkpoint import origin
from headwise.models.convert import ConversionError, convert_model, read_weights, with_first_token
from headwise.models.hooked import HookedGPT2Config
from headwise.models.load import load_checkpoint
from headwise.models.optimization import one_thread
from headwise.study.models import TransformerLensModel

WIDTH, HEADS, HEAD_WIDTH, INNER, POSITIONS = 32, 4, 8, 48, 24
CONFIG = {
    "n_layers": 3,
    "d_model": WIDTH,
    "n_heads": HEADS,
    "d_head": HEAD_WIDTH,
    "d_mlp": INNER,
    "n_ctx": POSITIONS,
    "d_vocab": VOCABULARY,
    "act_fn": "gelu",
    "eps": 1e-5,
    "normalization_type": "LN",
    "attn_only": False,
    "tokenizer_name": "org/tokenizer",
    "seed": 1,
}
VARIANTS = {
    "as released": {},
    "attention only": {"attn_only": True, "act_fn": None},
    "tanh": {"act_fn": "gelu_new"},
    "relu": {"act_fn": "relu", "d_mlp": None},
    "folded norms": {"normalization_type": "LNPre"},
    "no scale": {"use_attn_scale": False},
    "own scale": {"attn_scale": 3.0},
    "inverse layer": {"scale_attn_by_inverse_layer_idx": True},
}


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a HookedTransformer's state dict."""
    inner = config["d_mlp"] or 4 * WIDTH
    norms = config["normalization_type"] == "LN"
    found: dict[str, tuple[int, ...]] = {
        "embed.W_E": (VOCABULARY, WIDTH),
        "pos_embed.W_pos": (POSITIONS, WIDTH),
        "unembed.W_U": (WIDTH, VOCABULARY),
        "unembed.b_U": (VOCABULARY,),
    }
    names = ["ln_final"] if norms else []
    for layer in range(config["n_layers"]):
        block = f"blocks.{layer}"
        for matrix in "QKV":
            found[f"{block}.attn.W_{matrix}"] = (HEADS, WIDTH, HEAD_WIDTH)
            found[f"{block}.attn.b_{matrix}"] = (HEADS, HEAD_WIDTH)
        found |= {f"{block}.attn.W_O": (HEADS, HEAD_WIDTH, WIDTH), f"{block}.attn.b_O": (WIDTH,)}
        names += [f"{block}.ln1"] * norms
        if not config["attn_only"]:
            names += [f"{block}.ln2"] * norms
            found |= {f"{block}.mlp.W_in": (WIDTH, inner), f"{block}.mlp.b_in": (inner,)}
            found |= {f"{block}.mlp.W_out": (inner, WIDTH), f"{block}.mlp.b_out": (WIDTH,)}
    return found | {f"{name}.{part}": (WIDTH,) for name in names for part in "wb"}


def random_state(config: dict[str, Any]) -> dict[str, Tensor]:
    """A state dict of random weights, each with an effect on the result, and the constants that are saved along."""
    generator = torch.Generator().manual_seed(3)
    state = {name: torch.randn(shape, generator=generator) * 0.4 for name, shape in shapes(config).items()}
    for layer in range(config["n_layers"]):
        state[f"blocks.{layer}.attn.mask"] = torch.ones(POSITIONS, POSITIONS).tril().bool()
        state[f"blocks.{layer}.attn.IGNORE"] = torch.tensor(-torch.inf)
    return state


def activation(name: str, x: Tensor) -> Tensor:
    if name == "relu":
        return x.clamp(min=0)
    if name == "gelu":
        return x * (1 + torch.erf(x / math.sqrt(2))) / 2
    return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def hooked_forward(state: dict[str, Tensor], config: dict[str, Any], tokens: Tensor) -> tuple[list[Tensor], Tensor]:
    """Attention patterns [heads, query, key] of each layer, and logits [position, vocabulary], in float64."""
    state = {name: value.double() for name, value in state.items()}
    count = len(tokens)

    def norm(name: str, x: Tensor) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.pow(2).mean(-1, keepdim=True) + config["eps"]).sqrt()
        return x * state[f"{name}.w"] + state[f"{name}.b"] if config["normalization_type"] == "LN" else x

    residual = state["embed.W_E"][tokens] + state["pos_embed.W_pos"][:count]
    patterns = []
    for layer in range(config["n_layers"]):
        block = f"blocks.{layer}"
        x = norm(f"{block}.ln1", residual)
        scale = config.get("attn_scale", math.sqrt(HEAD_WIDTH)) if config.get("use_attn_scale", True) else 1.0
        if config.get("scale_attn_by_inverse_layer_idx", False):
            scale *= layer + 1
        pattern = torch.zeros(HEADS, count, count, dtype=torch.float64)
        written = torch.zeros(count, WIDTH, dtype=torch.float64) + state[f"{block}.attn.b_O"]
        for head in range(HEADS):
            query, key, value = (
                x @ state[f"{block}.attn.W_{name}"][head] + state[f"{block}.attn.b_{name}"][head] for name in "QKV"
            )
            for position in range(count):
                scores = torch.stack([query[position] @ key[other] for other in range(position + 1)]) / scale
                pattern[head, position, : position + 1] = scores.softmax(0)
            written = written + pattern[head] @ value @ state[f"{block}.attn.W_O"][head]
        patterns.append(pattern)
        residual = residual + written
        if not config["attn_only"]:
            x = norm(f"{block}.ln2", residual)
            x = activation(config["act_fn"], x @ state[f"{block}.mlp.W_in"] + state[f"{block}.mlp.b_in"])
            residual = residual + x @ state[f"{block}.mlp.W_out"] + state[f"{block}.mlp.b_out"]
    return patterns, norm("ln_final", residual) @ state["unembed.W_U"] + state["unembed.b_U"]


def write_model(folder: Path, config: dict[str, Any], state: dict[str, Tensor]) -> TransformerLensModel:
    """The files of a model of TransformerLens, and the section of a study that names them."""
    torch.save(state, folder / "seed7.pt")
    (folder / "config.json").write_text(json.dumps(config))
    word_tokenizer().save_pretrained(folder / "tokenizer")
    return TransformerLensModel(
        name="lens",
        source="transformer_lens",
        weights=f"{folder}/seed{{seed}}.pt",
        config=f"{folder}/config.json",
        tokenizer=f"{folder}/tokenizer",
    )


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_a_converted_model_computes_the_same(changes: dict[str, Any], tmp_path: Path) -> None:
    config = CONFIG | changes
    state = random_state(config)
    convert_model(write_model(tmp_path, config, state), 7, tmp_path / "converted", {})
    with one_thread(), torch.inference_mode():
        model, tokenizer = load_checkpoint(tmp_path / "converted")
        tokens = torch.cat([torch.tensor([tokenizer.bos_token_id]), token_ids(POSITIONS - 1)[0]])
        found = {}
        with capturing(model.base_model, lambda layer: found.update({layer.layer: layer.weights.double()})):
            model.base_model(input_ids=tokens[None])
        logits = model(input_ids=tokens[None]).logits[0].double()
        patterns, expected = hooked_forward(state, config, tokens)
    assert sorted(found) == [0, 1, 2]
    assert max((found[layer] - patterns[layer]).abs().max() for layer in found) < 1e-5
    assert (logits - expected).abs().max() < 1e-4
    # The patterns are sharp enough to tell heads and layers apart.
    assert (patterns[0][0] - patterns[0][1]).abs().max() > 0.1


def test_the_tokenizer_puts_the_first_token_as_the_model_saw_it(tmp_path: Path) -> None:
    word_tokenizer().save_pretrained(tmp_path)
    plain = word_tokenizer()
    text = "w5 w9 w5"
    with_first_token(tmp_path, True).save_pretrained(tmp_path / "prepended")
    with_first_token(tmp_path, False).save_pretrained(tmp_path / "unchanged")
    ids = plain(text)["input_ids"]
    for name, expected in (("prepended", [plain.bos_token_id, *ids]), ("unchanged", ids)):
        assert with_first_token(tmp_path / name, False)(text)["input_ids"] == expected
    twice = write_tokenizer(tmp_path, write_corpus(tmp_path))  # puts its BOS token first by itself
    first, second = with_first_token(twice, True)("A bird.")["input_ids"][:2]
    assert first != second


def test_facts_say_where_the_weights_come_from(tmp_path: Path) -> None:
    model = write_model(tmp_path, CONFIG, random_state(CONFIG))
    convert_model(model, 7, tmp_path / "converted", {"model": "lens"})
    facts = origin(tmp_path / "converted")
    assert list(facts["source_files"]) == ["seed7.pt"]
    assert str(tmp_path) not in (tmp_path / "converted" / "facts.json").read_text()
    before = (tmp_path / "converted" / "model.safetensors").read_bytes()
    convert_model(model, 7, tmp_path / "converted", {"model": "lens"})
    assert (tmp_path / "converted" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"positional_embedding_type": "rotary"}, "positional_embedding_type is 'rotary', and only models of GPT-2's"),
        ({"normalization_type": "RMS"}, "normalization_type is 'RMS', and converted are LN, LNPre"),
        ({"normalization_type": None}, "normalization_type is None, and converted are LN, LNPre"),
        ({"act_fn": "solu_ln"}, "act_fn is 'solu_ln', and converted are relu, gelu"),
        ({"n_heads": 3}, "n_heads is 3, .* where it is 4"),
        ({"n_key_value_heads": 2}, "n_key_value_heads is 2"),
        ({"d_vocab_out": 5}, "d_vocab_out is 5"),
        ({"n_layers": 4}, "'blocks.3.attn.W_Q' is missing: the configuration is of another model"),
        ({"n_layers": 2}, "'blocks.2.attn.W_K' has no place in the configuration"),
        ({"d_mlp": 64}, r"'blocks.0.mlp.W_in' has the shape \(32, 48\) instead of \(32, 64\)"),
        ({"attn_only": True}, "'blocks.0.ln2.b' has no place in the configuration"),
        ({"d_model": "32"}, "d_model is '32', and must be a whole number of 1 or more"),
        ({"d_head": 0}, "d_head is 0, and must be"),
        ({"d_head": 5}, "d_model 32 is no multiple of d_head 5"),
        ({"attn_only": "false"}, "attn_only is 'false', and must be true or false"),
        ({"eps": "small"}, "eps is 'small', and must be a number"),
    ],
)
def test_what_is_another_architecture_is_refused(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    model = write_model(tmp_path, CONFIG | changes, random_state(CONFIG))
    with pytest.raises(ConversionError, match=sentence):
        convert_model(model, 7, tmp_path / "converted", {})
    assert not (tmp_path / "converted").exists()


class Payload:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_file_with_code_in_it_is_refused_unread(tmp_path: Path) -> None:
    torch.save({"embed.W_E": torch.ones(2), "payload": Payload(tmp_path / "ran")}, tmp_path / "w.pt")
    with pytest.raises(ConversionError, match=r"w\.pt: not a file of tensors alone"):
        read_weights(tmp_path / "w.pt")
    assert not (tmp_path / "ran").exists()
    torch.save({"model_state_dict": {"a": torch.ones(2)}, "epoch": 3}, tmp_path / "training.pt")
    assert list(read_weights(tmp_path / "training.pt")) == ["a"]
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ConversionError, match="not a state dict"):
        read_weights(tmp_path / "list.pt")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", "w.pt: a pointer of git-LFS"),
        (lambda data: b"", "w.pt: cut off or damaged"),
        (lambda data: data[: len(data) // 2], "w.pt: cut off or damaged"),
        (lambda data: data[:-30], "w.pt: cut off or damaged"),
        (lambda data: b"<html>", "w.pt: not a file of tensors alone"),
    ],
)
def test_a_damaged_file_is_refused_by_name(damage: Any, sentence: str, tmp_path: Path) -> None:
    torch.save(random_state(CONFIG), tmp_path / "w.pt")
    (tmp_path / "w.pt").write_bytes(damage((tmp_path / "w.pt").read_bytes()))
    with pytest.raises(ValueError, match=sentence) as refusal:
        read_weights(tmp_path / "w.pt")
    assert not {"\n", "\x1b"} & set(str(refusal.value))


def test_a_prefix_of_a_wrapper_is_named(tmp_path: Path) -> None:
    compiled = {f"_orig_mod.{name}": weight for name, weight in random_state(CONFIG).items()}
    model = write_model(tmp_path, CONFIG, compiled)
    with pytest.raises(ConversionError, match=r"'embed\.W_E' is missing: take the prefix off '_orig_mod\.embed"):
        convert_model(model, 7, tmp_path / "converted", {})


@pytest.mark.parametrize("content", ["[1]", "{", "version https://git-lfs.github.com/spec/v1\n"])
def test_a_damaged_configuration_is_refused_by_name(content: str, tmp_path: Path) -> None:
    model = write_model(tmp_path, CONFIG, random_state(CONFIG))
    Path(str(model.config)).write_text(content)
    with pytest.raises(ValueError, match=f"{model.config}: (damaged|holds no JSON object|a pointer of git-LFS)"):
        convert_model(model, 7, tmp_path / "converted", {})


def test_an_attention_only_model_is_built_like_any_other(tmp_path: Path) -> None:
    shape = {"vocab_size": 50, "n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": 8}
    plain, bare = (
        AutoModelForCausalLM.from_config(HookedGPT2Config(**shape, attention_only=flag)) for flag in (False, True)
    )
    # Two matrices and two biases of each feed-forward layer, weight and bias of its normalisation.
    assert plain.num_parameters() - bare.num_parameters() == 2 * (2 * 16 * 64 + 64 + 16 + 2 * 16)
    loss = bare(input_ids=torch.arange(8)[None], labels=torch.arange(8)[None]).loss
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in bare.parameters())
    assert bare.lm_head.bias.shape == (50,)
