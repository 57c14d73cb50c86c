"""Small models and attention patterns that several tests of attention use."""

from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from headwise.attention.capture import LayerAttention

VOCABULARY = 97
WIDE = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=64,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
GPT2 = dict(vocab_size=VOCABULARY, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2)
# Model type, configuration, and the path of the first layer's output projection.
ARCHITECTURES = {
    "multi-head": ("llama", dict(num_key_value_heads=4), "model.layers.0.self_attn.o_proj"),
    "grouped-query": ("llama", dict(num_key_value_heads=2), "model.layers.0.self_attn.o_proj"),
    "multi-query": ("llama", dict(num_key_value_heads=1, head_dim=12), "model.layers.0.self_attn.o_proj"),
    "narrow window": (
        "mistral",
        dict(num_key_value_heads=2, sliding_window=4),
        "model.layers.0.self_attn.o_proj",
    ),
    "wide window": (
        "mistral",
        dict(num_key_value_heads=2, sliding_window=64),
        "model.layers.0.self_attn.o_proj",
    ),
    "gpt2": ("gpt2", {}, "transformer.h.0.attn.c_proj"),
    "gpt2 upcast": ("gpt2", dict(reorder_and_upcast_attn=True), "transformer.h.0.attn.c_proj"),
    "gpt_neox": ("gpt_neox", {}, "gpt_neox.layers.0.attention.dense"),
    "qwen3": ("qwen3", dict(num_key_value_heads=2, head_dim=16), "model.layers.0.self_attn.o_proj"),
    "gemma2": (
        "gemma2",
        dict(num_key_value_heads=2, head_dim=8, sliding_window=4),
        "model.layers.0.self_attn.o_proj",
    ),
    "bert": ("bert", {}, "encoder.layer.0.attention.output.dense"),
    # These return their weights, outside the attention interface.
    "falcon": (
        "falcon",
        dict(new_decoder_architecture=True, num_kv_heads=2),
        "transformer.h.0.self_attention.dense",
    ),
    "falcon alibi": ("falcon", dict(alibi=True, bias=True), "transformer.h.0.self_attention.dense"),
    "bloom": ("bloom", {}, "transformer.h.0.self_attention.dense"),
}


def tiny_model(kind: str, *, seed: int = 0, **changes: object) -> PreTrainedModel:
    """A random model of that type with three layers of four heads, under eager attention."""
    shape = GPT2 if kind == "gpt2" else WIDE
    config = AutoConfig.for_model(kind, **{**shape, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        family = AutoModel if kind in ("bert", "albert") else AutoModelForCausalLM
        model = family.from_config(config, attn_implementation="eager").eval()
        with torch.no_grad():
            # Patterns of freshly initialised models are nearly flat.
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.mul_(4)
    return model


def token_ids(tokens: int, seed: int = 0) -> Tensor:
    """Random token ids (1, tokens), none of them special."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (1, tokens), generator=generator)


def random_attention(heads: int, tokens: int, support: str, seed: int, sharpness: float = 2.0) -> Tensor:
    """Attention weights float32 (heads, tokens, tokens) from random scores."""
    scores = torch.randn(heads, tokens, tokens, generator=torch.Generator().manual_seed(seed)) * sharpness
    if support == "causal":
        scores = scores.masked_fill(torch.ones(tokens, tokens).triu(1).bool(), -torch.inf)
    return scores.softmax(-1)


def layer_attention(weights: Tensor, support: str = "causal", *, layer: int = 0, seed: int = 0) -> LayerAttention:
    """A layer with these weights, random head outputs of width 5 and a random output projection to 7."""
    heads, tokens, _ = weights.shape
    generator = torch.Generator().manual_seed(seed)
    return LayerAttention(
        layer=layer,
        weights=weights,
        head_outputs=torch.randn(tokens, heads, 5, generator=generator),
        output_projection=torch.randn(heads, 5, 7, generator=generator),
        support=support,  # type: ignore[arg-type]
    )


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of the words w3, w4, ... after three special tokens; it adds none of them."""
    words = ["<pad>", "<bos>", "<eos>", *(f"w{index}" for index in range(3, VOCABULARY))]
    vocabulary = {word: index for index, word in enumerate(words)}
    encoder = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    encoder.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=encoder, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")


def save_checkpoint(model: PreTrainedModel, folder: Path) -> Path:
    """Save the model with the tokenizer of words."""
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def random_words(count: int, seed: int) -> str:
    """A text of that many random words, each one token."""
    generator = np.random.default_rng(seed)
    return " ".join(f"w{index}" for index in generator.integers(3, VOCABULARY, count))


def peak_of(compute: Callable[[], object]) -> int:
    """The most bytes of tensors on the CPU that `compute` had allocated at once, what was there before not counted."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = compute()
    del kept
    results = profiler.profiler.kineto_results
    changes = [event.nbytes() for event in results.events() if event.name() == "[memory]"]
    return max(accumulate(changes), default=0)
