"""Every architecture that capture is tried on, tiny, with what is known of its attention."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from attention_examples import VOCABULARY, save_checkpoint, token_ids
from transformers import AutoConfig, PreTrainedModel

from headwise.attention.capture import LayerAttention, attention_layers, capturing
from headwise.models.architecture import language_model_class
from headwise.models.load import load_checkpoint

TOKENS = 11
WINDOW = 4
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
HIDDEN = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    **SPECIAL,
}
DECODER = {**HIDDEN, "num_hidden_layers": 3, "intermediate_size": 48}
GROUPED = {**DECODER, "num_key_value_heads": 2}
GPT = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, **SPECIAL}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
QWEN_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
ALTERNATING = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "sliding_window": WINDOW}
SLIDES_OUTSIDE = (WINDOW, None, WINDOW)


@dataclass(frozen=True)
class Architecture:
    """A model type and its tiny configuration.

    attention, positions, windows: as `architecture_facts` should have them. layers: indices of the attention layers.
    support: of its attention. sums_to_one: whether rows do.
    """

    model_type: str
    config: dict[str, Any]
    attention: str = "multi-head"
    positions: str = "rotary"
    windows: tuple[int | None, ...] = (None, None, None)
    layers: tuple[int, ...] = (0, 1, 2)
    support: str = "causal"
    sums_to_one: bool = True
    key_value_heads: int | None = field(init=False)

    def __post_init__(self) -> None:
        shared = {"multi-head": 4, "grouped-query": 2, "multi-query": 1, "multi-head latent": None}
        object.__setattr__(self, "key_value_heads", shared[self.attention])


FALCON = {**HIDDEN, "num_hidden_layers": 3}
ENCODER = {"positions": "learned", "support": "full"}
XLM = {
    "vocab_size": VOCABULARY,
    "emb_dim": 32,
    "n_layers": 3,
    "n_heads": 4,
    "max_position_embeddings": 64,
    "use_lang_emb": False,
    "pad_index": 0,
}
ARCHITECTURES = {
    "GPT-2": Architecture("gpt2", GPT, positions="learned"),
    "GPT": Architecture("openai-gpt", GPT, positions="learned"),
    "GPT-Neo": Architecture(
        "gpt_neo",
        {
            **{key: value for key, value in HIDDEN.items() if key != "num_attention_heads"},
            "num_layers": 3,
            "num_heads": 4,
            "attention_types": [[["local", "global", "local"], 1]],
            "window_size": WINDOW,
        },
        positions="learned",
        windows=SLIDES_OUTSIDE,
    ),
    "GPT-J": Architecture("gptj", {**GPT, "rotary_dim": 4}),
    "CodeGen": Architecture("codegen", {**GPT, "rotary_dim": 4}),
    "GPT-NeoX (Pythia)": Architecture("gpt_neox", DECODER),
    "OPT": Architecture(
        "opt", {**HIDDEN, "num_hidden_layers": 3, "ffn_dim": 48, "word_embed_proj_dim": 32}, positions="learned"
    ),
    "BLOOM": Architecture(
        "bloom", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 3, "n_head": 4, **SPECIAL}, positions="alibi"
    ),
    "MPT": Architecture(
        "mpt",
        {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 3, "n_heads": 4, "max_seq_len": 64, **SPECIAL},
        positions="alibi",
    ),
    "XGLM": Architecture(
        "xglm",
        {
            "vocab_size": VOCABULARY,
            "d_model": 32,
            "ffn_dim": 48,
            "num_layers": 3,
            "attention_heads": 4,
            "max_position_embeddings": 64,
            **SPECIAL,
        },
        positions="sinusoidal",
    ),
    "BioGPT": Architecture("biogpt", DECODER, positions="learned"),
    "CTRL": Architecture("ctrl", {**GPT, "dff": 48}, positions="sinusoidal"),
    "Persimmon": Architecture("persimmon", DECODER),
    "Falcon, multi-query": Architecture("falcon", FALCON, attention="multi-query"),
    "Falcon, multi-query, ALiBi": Architecture(
        "falcon",
        {**FALCON, "alibi": True, "parallel_attn": False, "bias": True},
        attention="multi-query",
        positions="alibi",
    ),
    "Falcon, multi-head": Architecture("falcon", {**FALCON, "multi_query": False}),
    "Falcon, multi-head, ALiBi": Architecture(
        "falcon", {**FALCON, "multi_query": False, "alibi": True, "bias": True}, positions="alibi"
    ),
    "Falcon, new decoder, grouped-query": Architecture(
        "falcon", {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2}, attention="grouped-query"
    ),
    "Llama, multi-head": Architecture("llama", DECODER),
    "Llama, grouped-query": Architecture("llama", GROUPED, attention="grouped-query"),
    "Llama, multi-query": Architecture("llama", {**DECODER, "num_key_value_heads": 1}, attention="multi-query"),
    "Mistral": Architecture(
        "mistral", {**GROUPED, "sliding_window": WINDOW}, attention="grouped-query", windows=(WINDOW,) * 3
    ),
    "Mixtral": Architecture(
        "mixtral", {**GROUPED, **EXPERTS, "sliding_window": WINDOW}, attention="grouped-query", windows=(WINDOW,) * 3
    ),
    "Qwen2": Architecture(
        "qwen2",
        {**GROUPED, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
        attention="grouped-query",
        windows=(None, WINDOW, WINDOW),
    ),
    "Qwen2-MoE": Architecture(
        "qwen2_moe", {**GROUPED, **QWEN_EXPERTS, "shared_expert_intermediate_size": 16}, attention="grouped-query"
    ),
    "Qwen3": Architecture("qwen3", {**GROUPED, "head_dim": 16}, attention="grouped-query"),
    "Phi": Architecture("phi", GROUPED, attention="grouped-query"),
    "Phi-3": Architecture(
        "phi3", {**GROUPED, "sliding_window": WINDOW}, attention="grouped-query", windows=(WINDOW,) * 3
    ),
    "Gemma": Architecture("gemma", {**DECODER, "num_key_value_heads": 1, "head_dim": 16}, attention="multi-query"),
    "Gemma 2": Architecture(
        "gemma2", {**GROUPED, **ALTERNATING, "head_dim": 16}, attention="grouped-query", windows=SLIDES_OUTSIDE
    ),
    "Gemma 3": Architecture(
        "gemma3_text", {**GROUPED, **ALTERNATING, "head_dim": 16}, attention="grouped-query", windows=SLIDES_OUTSIDE
    ),
    "OLMo": Architecture("olmo", GROUPED, attention="grouped-query"),
    "OLMo 2": Architecture("olmo2", GROUPED, attention="grouped-query"),
    "OLMo 3": Architecture("olmo3", {**GROUPED, **ALTERNATING}, attention="grouped-query", windows=SLIDES_OUTSIDE),
    "StableLM": Architecture("stablelm", GROUPED, attention="grouped-query"),
    "SmolLM3": Architecture(
        "smollm3",
        {**GROUPED, "no_rope_layers": [1, 0, 1]},
        attention="grouped-query",
        positions="rotary in some layers",
    ),
    "Llama 4": Architecture(
        "llama4_text",
        {
            **GROUPED,
            **EXPERTS,
            "head_dim": 8,
            "intermediate_size_mlp": 48,
            "attention_chunk_size": WINDOW,
            "no_rope_layers": [1, 0, 1],
        },
        attention="grouped-query",
        positions="rotary in some layers",
        windows=SLIDES_OUTSIDE,
    ),
    "EXAONE 4": Architecture(
        "exaone4",
        {**GROUPED, **ALTERNATING},
        attention="grouped-query",
        positions="rotary in some layers",
        windows=SLIDES_OUTSIDE,
    ),
    "Granite": Architecture("granite", GROUPED, attention="grouped-query"),
    "Cohere": Architecture("cohere", GROUPED, attention="grouped-query"),
    "Cohere 2": Architecture(
        "cohere2",
        {**GROUPED, **ALTERNATING},
        attention="grouped-query",
        positions="rotary in some layers",
        windows=SLIDES_OUTSIDE,
    ),
    "StarCoder2": Architecture(
        "starcoder2", {**GROUPED, "sliding_window": WINDOW}, attention="grouped-query", windows=(WINDOW,) * 3
    ),
    "GPT-BigCode": Architecture("gpt_bigcode", GPT, attention="multi-query", positions="learned"),
    "Apertus": Architecture("apertus", GROUPED, attention="grouped-query"),
    "DeepSeek-V3": Architecture(
        "deepseek_v3",
        {
            **DECODER,
            "num_key_value_heads": 4,
            "q_lora_rank": 12,
            "kv_lora_rank": 10,
            "qk_nope_head_dim": 8,
            "qk_rope_head_dim": 4,
            "v_head_dim": 6,
            "moe_intermediate_size": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "first_k_dense_replace": 1,
        },
        attention="multi-head latent",
    ),
    "GPT-OSS": Architecture(
        "gpt_oss",
        {**GROUPED, **ALTERNATING, **EXPERTS, "head_dim": 8},
        attention="grouped-query",
        windows=SLIDES_OUTSIDE,
        sums_to_one=False,
    ),
    "Jamba": Architecture(
        "jamba",
        {
            **GROUPED,
            "num_hidden_layers": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "num_experts": 2,
            "num_experts_per_tok": 1,
            "mamba_d_state": 4,
            "mamba_dt_rank": 4,
            "use_mamba_kernels": False,
        },
        attention="grouped-query",
        positions="none",
        windows=(None, None),
        layers=(1, 3),
    ),
    "Bamba": Architecture(
        "bamba",
        {
            **GROUPED,
            "num_hidden_layers": 4,
            "attn_layer_indices": [1, 3],
            "mamba_n_heads": 4,
            "mamba_d_state": 4,
            "mamba_chunk_size": 4,
        },
        attention="grouped-query",
        windows=(None, None),
        layers=(1, 3),
    ),
    "RecurrentGemma": Architecture(
        "recurrent_gemma",
        {
            **GROUPED,
            "num_hidden_layers": 4,
            "block_types": ["recurrent", "attention"],
            "attention_window_size": WINDOW,
        },
        attention="grouped-query",
        windows=(WINDOW, WINDOW),
        layers=(1, 3),
    ),
    "Qwen3-Next": Architecture(
        "qwen3_next",
        {
            **GROUPED,
            **QWEN_EXPERTS,
            "num_hidden_layers": 4,
            "layer_types": ["linear_attention", "full_attention", "linear_attention", "full_attention"],
            "head_dim": 16,
            "shared_expert_intermediate_size": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
        attention="grouped-query",
        windows=(None, None),
        layers=(1, 3),
    ),
    "BERT": Architecture("bert", DECODER, **ENCODER),
    "RoBERTa": Architecture("roberta", DECODER, **ENCODER),
    "XLM-RoBERTa": Architecture("xlm-roberta", DECODER, **ENCODER),
    "DistilBERT": Architecture(
        "distilbert",
        {
            "vocab_size": VOCABULARY,
            "dim": 32,
            "hidden_dim": 48,
            "n_layers": 3,
            "n_heads": 4,
            "max_position_embeddings": 64,
        },
        **ENCODER,
    ),
    "MPNet": Architecture("mpnet", DECODER, **ENCODER),
    "LayoutLM": Architecture("layoutlm", {**DECODER, "initializer_range": 0.1}, **ENCODER),
    "XLM": Architecture("xlm", XLM, **ENCODER),
    "FlauBERT": Architecture("flaubert", XLM, **ENCODER),
    "UltraBERT": Architecture(
        "ultrabert",
        {**DECODER, "sliding_window": WINDOW - 1, "layer_types": ALTERNATING["layer_types"]},
        windows=SLIDES_OUTSIDE,
        support="full",
    ),
    "ModernBERT": Architecture(
        "modernbert",
        {**DECODER, "local_attention": 2 * (WINDOW - 1), "layer_types": ALTERNATING["layer_types"]},
        windows=SLIDES_OUTSIDE,
        support="full",
    ),
}

# Causal language models whose attention cannot be captured, and what their configurations have beyond `HIDDEN`.
REFUSED: dict[str, dict[str, Any]] = {
    "mamba": {"num_hidden_layers": 2},
    "rwkv": {"num_hidden_layers": 2, "attention_hidden_size": 32},
    "big_bird": {"num_hidden_layers": 2, "is_decoder": True, "attention_type": "original_full"},
    "rembert": {"num_hidden_layers": 2, "is_decoder": True, "input_embedding_size": 16, "output_embedding_size": 16},
    "roformer": {"num_hidden_layers": 2, "is_decoder": True},
    "megatron-bert": {"num_hidden_layers": 2, "is_decoder": True},
    "reformer": {"is_decoder": True, "axial_pos_embds": False},
    "cpmant": {"num_hidden_layers": 2, "dim_head": 8, "dim_ff": 48, "segment_types": 2},
    "diffllama": {"num_hidden_layers": 2, "intermediate_size": 48},
    "trocr": {"d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 48},
}


def save_tiny(architecture: Architecture, folder: Path) -> Path:
    """A checkpoint with random weights, whose attention is not flat, and a tokenizer of words."""
    config = AutoConfig.for_model(architecture.model_type, **architecture.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = language_model_class(config).from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.mul_(4)
    return save_checkpoint(model, folder)


@dataclass(frozen=True)
class Comparison:
    """What was captured, beside what the model itself computes under eager attention; lists by attention layer.

    written: (T, hidden), what the output projection gives.
    """

    model: PreTrainedModel
    layers: list[LayerAttention]
    attention: list[torch.Tensor]
    written: list[torch.Tensor]
    captured_logits: torch.Tensor
    logits: torch.Tensor

    @property
    def attention_difference(self) -> float:
        pairs = zip(self.layers, self.attention, strict=True)
        return max(float((layer.weights - weights).abs().max()) for layer, weights in pairs)

    @property
    def logit_difference(self) -> float:
        return float((self.captured_logits - self.logits).abs().max())


def compare_capture(folder: Path, tokens: int = TOKENS) -> Comparison:
    """Capture a saved checkpoint as it is loaded, then run it under eager attention without any hook."""
    model, _ = load_checkpoint(folder)
    ids = token_ids(tokens)
    layers: list[LayerAttention] = []
    written: list[torch.Tensor] = []
    hooks = [
        layer.projection.register_forward_hook(lambda module, inputs, output: written.append(output.view(tokens, -1)))
        for layer in attention_layers(model)
    ]
    with torch.no_grad():
        with capturing(model, layers.append):
            captured_logits = model(input_ids=ids, use_cache=False).logits
        for hook in hooks:
            hook.remove()
        eager = type(model).from_pretrained(folder, attn_implementation="eager").eval()
        logits = eager(input_ids=ids, use_cache=False).logits
        attention = eager(input_ids=ids, use_cache=False, output_attentions=True).attentions
    weights = [each[0] for each in attention if each is not None]
    return Comparison(model, layers, weights, written, captured_logits, logits)
