"""Configurations of published models that the shipped studies name, from their model cards and config.json files."""

from transformers import (
    ApertusConfig,
    FalconConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    Qwen2Config,
)

MISTRAL = {"hidden_size": 4096, "intermediate_size": 14336, "num_key_value_heads": 8}
LLAMA_3 = {"vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_key_value_heads": 8}
PHI_3 = {"vocab_size": 32064, "sliding_window": 2047, "pad_token_id": 32000}


def gemma2(hidden: int, feed_forward: int, layers: int, heads: int, key_value_heads: int, width: int) -> Gemma2Config:
    return Gemma2Config(
        hidden_size=hidden,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        head_dim=width,
    )


def pythia(hidden: int, layers: int, heads: int) -> GPTNeoXConfig:
    return GPTNeoXConfig(
        vocab_size=50304,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
    )


# By the beginning of the repository's name; the longest that fits counts.
CONFIGS: dict[str, PreTrainedConfig] = {
    "meta-llama/Llama-2-7b": LlamaConfig(),
    "meta-llama/Meta-Llama-3-8B": LlamaConfig(**LLAMA_3),
    "meta-llama/Llama-3.1-8B": LlamaConfig(**LLAMA_3),
    "mistralai/Mistral-7B-v0.1": MistralConfig(**MISTRAL, sliding_window=4096),
    "mistralai/Mistral-7B-Instruct-v0.2": MistralConfig(**MISTRAL, sliding_window=None),
    "mistralai/Mistral-7B-v0.3": MistralConfig(**MISTRAL, vocab_size=32768, sliding_window=None),
    "mistralai/Mistral-7B-Instruct-v0.3": MistralConfig(**MISTRAL, vocab_size=32768, sliding_window=None),
    "google/gemma-2-9b": gemma2(3584, 14336, 42, 16, 8, 256),
    "google/gemma-2-27b": gemma2(4608, 36864, 46, 32, 16, 128),
    "Qwen/Qwen2-7B": Qwen2Config(
        vocab_size=152064,
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
    ),
    "01-ai/Yi-1.5-9B": LlamaConfig(vocab_size=64000, num_hidden_layers=48, num_key_value_heads=4),
    "swiss-ai/Apertus-8B": ApertusConfig(
        vocab_size=131072,
        hidden_size=4096,
        intermediate_size=21504,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    ),
    "microsoft/phi-1_5": PhiConfig(),
    "microsoft/phi-2": PhiConfig(hidden_size=2560, intermediate_size=10240, num_hidden_layers=32),
    "microsoft/Phi-3-mini-4k": Phi3Config(**PHI_3),
    "microsoft/Phi-3-medium-4k": Phi3Config(
        **PHI_3,
        hidden_size=5120,
        intermediate_size=17920,
        num_hidden_layers=40,
        num_attention_heads=40,
        num_key_value_heads=10,
    ),
    "tiiuae/falcon-7b": FalconConfig(),
    "tiiuae/falcon-40b": FalconConfig(
        hidden_size=8192,
        num_hidden_layers=60,
        num_attention_heads=128,
        num_kv_heads=8,
        new_decoder_architecture=True,
    ),
    "EleutherAI/pythia-14m": pythia(128, 6, 4),
    "EleutherAI/pythia-31m": pythia(256, 6, 8),
    "EleutherAI/pythia-70m": pythia(512, 6, 8),
    "EleutherAI/pythia-160m": pythia(768, 12, 12),
    "EleutherAI/pythia-410m": pythia(1024, 24, 16),
    "stanford-crfm/": GPT2Config(),
    "stanford-crfm/arwen": GPT2Config(n_embd=1024, n_layer=24, n_head=16),
    "stanford-crfm/beren": GPT2Config(n_embd=1024, n_layer=24, n_head=16),
    "stanford-crfm/celebrimbor": GPT2Config(n_embd=1024, n_layer=24, n_head=16),
    "stanford-crfm/durin": GPT2Config(n_embd=1024, n_layer=24, n_head=16),
    "stanford-crfm/eowyn": GPT2Config(n_embd=1024, n_layer=24, n_head=16),
}
# What the publishers state, in billions; a check on the configurations above.
PUBLISHED_BILLIONS = {
    "meta-llama/Llama-2-7b": 6.74,
    "meta-llama/Llama-3.1-8B": 8.03,
    "mistralai/Mistral-7B-v0.1": 7.24,
    "mistralai/Mistral-7B-v0.3": 7.25,
    "google/gemma-2-9b": 9.24,
    "google/gemma-2-27b": 27.2,
    "Qwen/Qwen2-7B": 7.62,
    "01-ai/Yi-1.5-9B": 8.83,
    "swiss-ai/Apertus-8B": 8.05,
    "microsoft/phi-1_5": 1.42,
    "microsoft/phi-2": 2.78,
    "microsoft/Phi-3-mini-4k": 3.82,
    "microsoft/Phi-3-medium-4k": 14.0,
    "EleutherAI/pythia-14m": 0.0141,
    "EleutherAI/pythia-31m": 0.0305,
    "EleutherAI/pythia-70m": 0.0704,
    "EleutherAI/pythia-160m": 0.162,
    "EleutherAI/pythia-410m": 0.405,
    "stanford-crfm/": 0.124,
    "stanford-crfm/arwen": 0.355,
}


def published_config(repository: str) -> PreTrainedConfig:
    """The configuration of a repository that a shipped study names."""
    return CONFIGS[max((name for name in CONFIGS if repository.startswith(name)), key=len)]
