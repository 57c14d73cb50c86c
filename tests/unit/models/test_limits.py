"""How long a text a model takes: what its configuration says is what it can read, and not one token more."""

from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig

from headwise.models.encoding import limits_of
from headwise.models.limits import COUNTED_FROM_THE_PAD_TOKEN, Limits, usable_positions

SHAPE: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 24,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
OWN: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": 24, "n_embd": 16, "n_layer": 1, "n_head": 2},
    "longformer": {"attention_window": 4},
    "esm": {"mask_token_id": 5, "token_dropout": False, "position_embedding_type": "absolute"},
    "ibert": {"quant_mode": False},
    "xmod": {"languages": ["en"], "default_language": "en"},
    "luke": {"entity_vocab_size": 8},
    "opt": {"ffn_dim": 16, "word_embed_proj_dim": 16},
}
OTHERS = ("bert", "electra", "gpt2", "opt", "gpt_bigcode", "biogpt", "nystromformer", "yoso")


def model_of(model_type: str, pad: int) -> Any:
    config = AutoConfig.for_model(model_type, **{**SHAPE, "pad_token_id": pad, **OWN.get(model_type, {})})
    name = type(config).__name__.removesuffix("Config")
    kinds = ("ForMaskedLM", "ForCausalLM", "LMHeadModel")
    family = next(getattr(transformers, name + kind) for kind in kinds if hasattr(transformers, name + kind))
    torch.manual_seed(0)
    return family._from_config(config).eval()


@pytest.mark.parametrize(
    ("model_type", "pad"),
    [
        *((name, 1) for name in (*sorted(COUNTED_FROM_THE_PAD_TOKEN), *OTHERS)),
        ("roberta", 3),
        ("mpnet", 3),
        ("bert", 3),
    ],
)
@torch.no_grad()
def test_a_model_reads_as_many_tokens_as_are_said_and_no_more(model_type, pad):
    model = model_of(model_type, pad)
    positions = limits_of(model).positions
    assert usable_positions(model.config.to_dict()) == positions
    ids = torch.arange(6, 6 + positions)[None] % 50 + 6
    assert model(input_ids=ids).logits.shape[1] == positions
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.cat([ids, ids[:, :1]], dim=1))


@pytest.mark.parametrize(
    ("config", "limits"),
    [
        ({"model_type": "llama", "max_position_embeddings": 64, "vocab_size": 300}, Limits(300, 64)),
        ({"model_type": "gpt2", "n_positions": 64, "vocab_size": 300}, Limits(300, 64)),
        ({"model_type": "mpt", "max_seq_len": 64}, Limits(None, 64)),
        ({"model_type": "bloom", "vocab_size": 300, "seq_length": 64}, Limits(300, None)),
        ({"model_type": "gemma3", "text_config": {"vocab_size": 7, "max_position_embeddings": 9}}, Limits(7, 9)),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, Limits(None, 512)),
        ({"model_type": "esm", "max_position_embeddings": 64, "position_embedding_type": "rotary"}, Limits(None, 64)),
        ({"model_type": "xlnet", "max_position_embeddings": -1}, Limits(None, None)),
    ],
)
def test_limits_are_read_from_a_file(config, limits):
    assert Limits.of(config) == limits
