"""Padded prompts: pads that are kept out of mask, positions and statistics change nothing."""

import pytest
import torch
from attention_examples import ARCHITECTURES, tiny_model, token_ids
from tokenizer_examples import CHAT_TEMPLATE, byte_tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from headwise.analyses.variants.inputs import ImpossibleVariant, Inputs, model_inputs, prepare
from headwise.analyses.variants.settings import Variant
from headwise.attention.capture import CaptureError, LayerAttention, capturing
from headwise.study.extraction import DATE, Extraction
from headwise.study.prompts import EncodedPrompt, Prompt

TOKENS, PADDED = 7, 12
PROMPT = Prompt("a", "letters", "abcd")
# Learned positions, rotary ones, ALiBi, windows, an encoder; through the interface and outside it.
POSITIONS = {
    **{name: ARCHITECTURES[name][:2] for name in ("gpt2", "gpt_neox", "grouped-query", "narrow window", "gemma2")},
    **{name: ARCHITECTURES[name][:2] for name in ("bloom", "falcon", "falcon alibi", "bert")},
    "opt": ("opt", dict(ffn_dim=48)),
    "mpt": ("mpt", dict(d_model=32, n_heads=4, n_layers=3, max_seq_len=64)),
}
# Largest difference of attention between a padded and an unpadded pass; entries are within 0…1.
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def inputs(model: PreTrainedModel, **fields: object) -> Inputs:
    """Random tokens as the model is given them under a variant, without a tokenizer between."""
    variant = Variant(name="tested", pad_to=PADDED, **fields)
    ids = token_ids(TOKENS)[0].tolist()
    return model_inputs(EncodedPrompt("a", ids), variant, variant.padding, 0, model)


def captured(model: PreTrainedModel, arguments: dict[str, Tensor], padded: bool = True) -> list[LayerAttention]:
    layers: list[LayerAttention] = []
    with torch.no_grad(), capturing(model, layers.append, padded=padded):
        model(**arguments)
    return layers


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, torch.float32) for name in POSITIONS),
        *((name, torch.bfloat16) for name in ("gpt2", "gemma2", "bloom")),
    ],
)
def test_pads_outside_of_mask_and_positions_change_nothing(name: str, dtype: torch.dtype) -> None:
    kind, changes = POSITIONS[name]
    model = tiny_model(kind, **changes).to(dtype)
    alone = captured(model, {"input_ids": token_ids(TOKENS)}, padded=False)
    for side in ("left", "right"):
        given = inputs(model, padding=side)
        for layer, reference in zip(captured(model, given.arguments), alone, strict=True):
            real = layer.among(given.real)
            assert layer.weights.shape[-1] == PADDED
            assert real.support == reference.support
            torch.testing.assert_close(real.weights, reference.weights, rtol=0, atol=ROUNDING[dtype])
            torch.testing.assert_close(real.head_outputs, reference.head_outputs, rtol=0, atol=ROUNDING[dtype] * 10)


@pytest.mark.parametrize(("name", "moved"), [("gpt2", True), ("grouped-query", False), ("bloom", False)])
def test_a_model_that_counts_pads_is_moved_where_positions_are_absolute(name: str, moved: bool) -> None:
    kind, changes = POSITIONS[name]
    model = tiny_model(kind, **changes)
    alone = captured(model, {"input_ids": token_ids(TOKENS)})
    given = inputs(model, padding="left", position_ids="model")
    largest = max(
        float((layer.among(given.real).weights - reference.weights).abs().max())
        for layer, reference in zip(captured(model, given.arguments), alone, strict=True)
    )
    assert (largest > 1e-2) if moved else (largest < 1e-5)


def test_pads_on_the_left_attend_to_everything_alike_and_are_seen_by_nobody() -> None:
    model = tiny_model("llama")
    given = inputs(model, padding="left")
    pads = PADDED - TOKENS
    for layer in captured(model, given.arguments):
        assert layer.support == "causal"  # of the real tokens
        torch.testing.assert_close(layer.weights[:, :pads], torch.full_like(layer.weights[:, :pads], 1 / PADDED))
        assert not layer.weights[:, pads:, :pads].any()
        assert layer.among(torch.arange(PADDED)).support == "full"
        assert layer.among(given.real).support == "causal"


def test_a_padded_prompt_is_refused_unless_asked_for() -> None:
    model = tiny_model("llama")
    with pytest.raises(CaptureError, match="the prompt is padded: give it without padding"):
        captured(model, inputs(model, padding="right").arguments, padded=False)
    everything = {"input_ids": token_ids(TOKENS), "attention_mask": torch.ones(1, TOKENS, dtype=torch.long)}
    assert len(captured(model, everything, padded=False)) == 3


@pytest.mark.parametrize(
    ("fields", "ids", "mask", "positions"),
    [
        ({}, "sabcd", None, None),
        ({"padding": "right"}, "sabcd***", "11111000", [*range(8)]),
        ({"padding": "left"}, "***sabcd", "00011111", [0, 0, 0, 0, 1, 2, 3, 4]),
        ({"padding": "left", "position_ids": "model"}, "***sabcd", "00011111", None),
        ({"padding": "tokenizer"}, "***sabcd", "00011111", [0, 0, 0, 0, 1, 2, 3, 4]),
        ({"padding": "right", "pad_token": "bos"}, "sabcdsss", "11111000", [*range(8)]),
        ({"template": "chat"}, "suabcd>", None, None),
        ({"template": "chat_or_raw"}, "suabcd>", None, None),
        ({"template": "chat", "special_tokens": "twice"}, "ssuabcd>", None, None),
        ({"first_token": "none"}, "abcd", None, None),
        ({"first_token": "bos", "padding": "left"}, "***sabcd", "00011111", [0, 0, 0, 0, 1, 2, 3, 4]),
        ({"first_token": "none", "template": "chat_or_raw"}, "suabcd>", None, None),
    ],
)
def test_what_a_model_is_given(fields: dict[str, str], ids: str, mask: str | None, positions: list[int] | None) -> None:
    tokenizer = byte_tokenizer(CHAT_TEMPLATE)
    tokenizer.pad_token, tokenizer.padding_side = "*", "left"
    variant = Variant(**{"name": "tested", **fields}, **({"pad_to": 8} if "padding" in fields else {}))
    variant = variant.resolved(Extraction())
    model = tiny_model("llama", vocab_size=300)
    (given,) = prepare([PROMPT], variant, DATE, model, tokenizer)
    names = {"<s>": "s", "<user>": "u"}
    tokens = tokenizer.convert_ids_to_tokens(given.arguments["input_ids"][0].tolist())
    assert "".join(names.get(token, token) for token in tokens) == ids
    masked = given.arguments.get("attention_mask")
    assert (None if masked is None else "".join(str(int(each)) for each in masked[0])) == mask
    counted = given.arguments.get("position_ids")
    assert (None if counted is None else counted[0].tolist()) == positions
    assert given.real.tolist() == [at for at in range(len(ids)) if mask is None or mask[at] == "1"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"template": "chat"}, "no chat template"),
        ({"padding": "right"}, "no pad or end token"),
        ({"padding": "right", "pad_token": "unknown"}, "no unknown token"),
        ({"padding": "right", "pad_token": "bos", "pad_to": 4}, "prompt 'a' has 5 tokens, more than pad_to 4"),
        ({"padding": "right", "pad_token": "bos"}, "takes 128 tokens, more than the model's 64 positions"),
    ],
)
def test_what_a_model_does_not_allow_is_a_reason(fields: dict[str, str], reason: str) -> None:
    variant = Variant(**{"name": "tested", **fields}).resolved(Extraction())
    with pytest.raises(ImpossibleVariant, match=reason):
        prepare([PROMPT], variant, DATE, tiny_model("llama", vocab_size=300), byte_tokenizer())
    allowed = Variant(name="tested", template="chat_or_raw").resolved(Extraction())
    assert prepare([PROMPT], allowed, DATE, tiny_model("llama", vocab_size=300), byte_tokenizer())[0].real.tolist() == [
        *range(5)
    ]
