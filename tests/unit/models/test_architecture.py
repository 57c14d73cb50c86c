"""Architecture facts against published models, and against the weights that a configuration builds."""

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BambaConfig,
    BartConfig,
    CohereConfig,
    DeepseekV3Config,
    Exaone4Config,
    FalconConfig,
    FalconH1Config,
    FNetConfig,
    Gemma2Config,
    Gemma4TextConfig,
    GPT2Config,
    GPTBigCodeConfig,
    GPTJConfig,
    GPTNeoXConfig,
    JambaConfig,
    Llama4TextConfig,
    LlamaConfig,
    MambaConfig,
    MiMoV2FlashConfig,
    MistralConfig,
    NystromformerConfig,
    OPTConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    RecurrentGemmaConfig,
    T5Config,
    ViTConfig,
)

from headwise.models.architecture import (
    ArchitectureError,
    architecture_facts,
    language_model_class,
)
from headwise.models.reach import reach_by_layer
from headwise.models.windows import windows_act

SMALL = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}

LLAMA_2_7B = LlamaConfig()
LLAMA_3_8B = LlamaConfig(vocab_size=128256, intermediate_size=14336, num_key_value_heads=8)
GEMMA_2_9B = Gemma2Config(
    hidden_size=3584,
    intermediate_size=14336,
    num_hidden_layers=42,
    num_attention_heads=16,
    num_key_value_heads=8,
)
FALCON_7B = FalconConfig()
PYTHIA_70M = GPTNeoXConfig(
    vocab_size=50304,
    hidden_size=512,
    intermediate_size=2048,
    num_hidden_layers=6,
    num_attention_heads=8,
)


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (GPT2Config(), 124_439_808),
        (LLAMA_2_7B, 6_738_415_616),
        (LLAMA_3_8B, 8_030_261_248),
        (GEMMA_2_9B, 9_241_705_984),
        (PYTHIA_70M, 70_426_624),
    ],
)
def test_parameters_are_those_of_the_published_models(config, parameters):
    assert architecture_facts(config)["parameters"] == parameters


@pytest.mark.parametrize(
    ("config", "crowding"),
    [
        (LLAMA_2_7B, 0.25),  # D'Elia 2026: 32 heads of width 128
        (LLAMA_3_8B, 32 / 8 * 32 / 128),
        (GEMMA_2_9B, 0.125),  # by the paper's formula: 16 heads of width 256, 8 for keys and values
        (FALCON_7B, 71 / 1 * 71 / 64),
        (MistralConfig(), 1.0),
    ],
)
def test_crowding_follows_the_formula(config, crowding):
    assert architecture_facts(config)["crowding"] == pytest.approx(crowding, rel=1e-12)


SMALL_CONFIGS = [
    (GPT2Config(vocab_size=100, n_embd=32, n_layer=3, n_head=4), "multi-head", "learned"),
    (GPTNeoXConfig(**SMALL, intermediate_size=64), "multi-head", "rotary"),
    (GPTJConfig(vocab_size=100, n_embd=32, n_layer=3, n_head=4, rotary_dim=4), "multi-head", "rotary"),
    (OPTConfig(**SMALL, ffn_dim=64, word_embed_proj_dim=32), "multi-head", "learned"),
    (GPTBigCodeConfig(vocab_size=100, n_embd=32, n_layer=3, n_head=4, multi_query=True), "multi-query", "learned"),
    (GPTBigCodeConfig(vocab_size=100, n_embd=32, n_layer=3, n_head=4, multi_query=False), "multi-head", "learned"),
    (LlamaConfig(**SMALL, intermediate_size=64), "multi-head", "rotary"),
    (LlamaConfig(**SMALL, intermediate_size=64, num_key_value_heads=2), "grouped-query", "rotary"),
    (MistralConfig(**SMALL, intermediate_size=64, num_key_value_heads=1, head_dim=16), "multi-query", "rotary"),
    (Gemma2Config(**SMALL, intermediate_size=64, num_key_value_heads=2, head_dim=16), "grouped-query", "rotary"),
    (Qwen2Config(**SMALL, intermediate_size=64, num_key_value_heads=2), "grouped-query", "rotary"),
    (Phi3Config(**SMALL, intermediate_size=64, num_key_value_heads=2, pad_token_id=0), "grouped-query", "rotary"),
    (CohereConfig(**SMALL, intermediate_size=64, num_key_value_heads=2), "grouped-query", "rotary"),
    (FalconConfig(**SMALL), "multi-query", "rotary"),
    (FalconConfig(**SMALL, multi_query=False), "multi-head", "rotary"),
    (FalconConfig(**SMALL, multi_query=False, alibi=True), "multi-head", "alibi"),
    # In the new architecture `multi_query` is ignored: Falcon-40B has 8 key and value heads.
    (FalconConfig(**SMALL, new_decoder_architecture=True, num_kv_heads=2), "grouped-query", "rotary"),
]


def built_widths(model: torch.nn.Module) -> set[tuple[int, int]]:
    """(query width, key and value width) of each attention layer, from the shapes of the weights."""
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters() if name.endswith("weight")}
    widths = set()
    for name, (*_, last) in shapes.items():
        stem, part = name.removesuffix(".weight").rpartition(".")[::2]
        first = shapes[name][0]
        if part == "q_proj":
            widths.add((first, shapes[f"{stem}.k_proj.weight"][0]))
        elif part in ("query_key_value", "qkv_proj", "c_attn"):
            # The output projection reads what the queries are wide; GPT-2 stores weights (input, output).
            output = {"query_key_value": "dense", "qkv_proj": "o_proj", "c_attn": "c_proj"}[part]
            transposed = part == "c_attn" and first == last // 3
            query = shapes[f"{stem}.{output}.weight"][1]
            widths.add((query, ((last if transposed else first) - query) // 2))
    return widths


@pytest.mark.parametrize(("config", "kind", "positions"), SMALL_CONFIGS)
def test_facts_are_what_the_built_model_has(config, kind, positions):
    model = AutoModelForCausalLM.from_config(config)
    facts = architecture_facts(config)
    assert facts["attention"] == kind
    assert facts["positions"] == positions
    assert facts["layers"] == len(facts["windows"]) == 3
    assert facts["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    query, key_value = facts["heads"] * facts["head_width"], facts["key_value_heads"] * facts["head_width"]
    assert built_widths(model) == {(query, key_value)}
    assert facts["key_value_ratio"] == facts["key_value_heads"] / facts["heads"]


def test_windows_per_layer():
    def windows(config: PreTrainedConfig) -> list[int | None]:
        return architecture_facts(config)["windows"]

    small = {**SMALL, "intermediate_size": 64, "num_key_value_heads": 2}
    assert windows(MistralConfig(**small, sliding_window=None)) == [None] * 3
    assert windows(MistralConfig(**small, sliding_window=8)) == [8] * 3
    assert windows(Gemma2Config(**small, head_dim=8, sliding_window=8)) == [8, None, 8]
    assert windows(Phi3Config(**small, sliding_window=2047, pad_token_id=0)) == [2047] * 3
    assert windows(Qwen2Config(**small, sliding_window=8)) == [None] * 3
    upper = Qwen2Config(**small, sliding_window=8, use_sliding_window=True, max_window_layers=1)
    assert windows(upper) == [None, 8, 8]
    # A key that the architecture does not know stays in the configuration and acts on nothing.
    assert windows(LlamaConfig(**small, sliding_window=8)) == [None] * 3


def test_windows_and_layers_of_published_hybrids_and_chunks():
    # Botev et al. 2024: two recurrent blocks, then one of local attention over 2,048 tokens.
    recurrent = architecture_facts(RecurrentGemmaConfig())
    assert recurrent["attention_layers"] == list(range(2, 26, 3))
    assert recurrent["windows"] == [2048] * 8
    # Bamba-9B-v2: attention in layers 9, 18 and 27, everywhere, half of each head rotated.
    bamba = architecture_facts(BambaConfig(attn_layer_indices=[9, 18, 27]))
    assert (bamba["attention_layers"], bamba["windows"]) == ([9, 18, 27], [None] * 3)
    # Llama 4 Scout: chunks of 8,192 tokens in three layers of four, the fourth attends everywhere and does not rotate.
    small = {**SMALL, "num_key_value_heads": 2, "intermediate_size": 64, "head_dim": 8, "num_local_experts": 2}
    scout = architecture_facts(Llama4TextConfig(**{**small, "num_hidden_layers": 4}))
    assert scout["windows"] == [8192, 8192, 8192, None]
    assert scout["positions"] == "rotary in some layers"
    # EXAONE 4.0 32B slides in three layers of four, which alone rotate; the 1.2B has no window and rotates everywhere.
    exaone = {key: value for key, value in small.items() if key != "num_local_experts"}
    sliding = architecture_facts(Exaone4Config(**{**exaone, "num_hidden_layers": 4}, sliding_window=4096))
    assert (sliding["windows"], sliding["positions"]) == ([4096, 4096, 4096, None], "rotary in some layers")
    whole = Exaone4Config(**exaone, sliding_window=None, layer_types=["full_attention"] * 3)
    assert (architecture_facts(whole)["windows"], architecture_facts(whole)["positions"]) == ([None] * 3, "rotary")


# Windows that count themselves or not, that are halved on the way, that no layer keeps to, that all but one do.
WINDOWS = {
    "one token": ("mistral", dict(sliding_window=1)),
    "itself included": ("mistral", dict(sliding_window=4)),
    "either side, itself not": ("ultrabert", dict(sliding_window=5, num_hidden_layers=4)),
    "both sides together": ("modernbert", dict(local_attention=6, global_attn_every_n_layers=2)),
    "halved by the configuration": (
        "gemma3_text",
        dict(sliding_window=6, use_bidirectional_attention=True, head_dim=8, layer_types=["sliding_attention"] * 3),
    ),
    "declared, not used": ("moshi", dict(sliding_window=4)),
    "not named by the kinds of layers": ("minimax", dict(sliding_window=4, num_local_experts=2, head_dim=8)),
    "in a layer of three": (
        "gpt_oss",
        dict(
            sliding_window=3,
            head_dim=8,
            num_local_experts=4,
            layer_types=["full_attention"] * 2 + ["sliding_attention"],
        ),
    ),
    "by another name": ("recurrent_gemma", dict(attention_window_size=4, block_types=["attention"])),
    "chunks": ("llama4_text", dict(attention_chunk_size=4, head_dim=8, num_local_experts=2, intermediate_size_mlp=8)),
    "local and global": (
        "gpt_neo",
        dict(window_size=4, num_layers=2, num_heads=4, attention_types=[[["local", "global"], 1]]),
    ),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_are_as_far_as_eager_attention_reaches(name):
    kind, changes = WINDOWS[name]
    shape = {**SMALL, "intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 64}
    if kind == "gpt_neo":
        shape = {"vocab_size": 100, "hidden_size": 32, "max_position_embeddings": 64}
    config = AutoConfig.for_model(kind, **{**shape, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **changes})
    model = language_model_class(config).from_config(config, attn_implementation="eager").eval()
    tokens = 13
    with torch.no_grad():
        output = model(input_ids=torch.arange(tokens)[None] + 3, use_cache=False, output_attentions=True)
    distance = (torch.arange(tokens)[:, None] - torch.arange(tokens)).abs()
    # Linear attention is square, but no softmax.
    layers = architecture_facts(config)["attention_layers"]
    attention = [output.attentions[layer] for layer in layers]
    reach = [int(distance[(weights[0] > 0).any(0)].max()) + 1 for weights in attention]
    assert [window or tokens for window in architecture_facts(config)["windows"]] == reach
    assert config._attn_implementation == "eager"


def test_a_window_may_be_as_wide_as_any():
    small = {**SMALL, "intermediate_size": 64, "num_key_value_heads": 2, "pad_token_id": 0}
    assert architecture_facts(Phi3Config(**small, sliding_window=262_144))["windows"] == [262_144] * 3


def test_a_window_whose_layers_are_not_known_is_an_error():
    config = Llama4TextConfig(**SMALL, intermediate_size=64, head_dim=8, attention_chunk_size=8)
    config.layer_types = ["full_attention"] * 3
    assert reach_by_layer(AutoModelForCausalLM.from_config(config)) is None
    with pytest.raises(ArchitectureError, match="names a window, but neither its layer_types nor the model's masks"):
        architecture_facts(config)


@pytest.mark.parametrize("kind", ["doge", "jetmoe"])
def test_what_is_no_window_is_taken_for_none(kind):
    """Whose masks do not tell: a number of keys that are kept, and one of experts."""
    config = AutoConfig.for_model(kind, **SMALL, num_key_value_heads=2, intermediate_size=64, num_local_experts=4)
    assert reach_by_layer(AutoModelForCausalLM.from_config(config).to("meta")) is None
    assert architecture_facts(config)["windows"] == [None] * config.num_hidden_layers


def test_a_window_acts_when_it_is_shorter_than_the_prompt():
    windows = [8, None, 4096]
    assert windows_act(windows, 8) == [False, False, False]
    assert windows_act(windows, 9) == [True, False, False]
    assert windows_act(windows, 5000) == [True, False, True]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (MambaConfig(), "mamba: the configuration has no num_attention_heads"),
        (MiMoV2FlashConfig(), "mimo_v2_flash: heads differ between layers in number or width"),
        (Gemma4TextConfig(), "gemma4_text: heads differ between layers in number or width"),
        (FalconH1Config(), "falcon_h1: layer_types holds 'hybrid', whose reach in tokens is not known"),
        (NystromformerConfig(), "nystromformer: the configuration names no number of key and value heads"),
        (
            Qwen2Config(**SMALL, num_key_value_heads=2, layer_types=["compressed_sparse_attention"] * 3),
            "holds 'compressed_sparse_attention'",
        ),
    ],
)
def test_attention_that_is_not_understood_is_an_error(config, sentence):
    with pytest.raises(ArchitectureError, match=sentence):
        architecture_facts(config)


def test_multi_head_latent_attention_has_no_key_and_value_heads():
    facts = architecture_facts(DeepseekV3Config())
    assert facts["attention"] == "multi-head latent"
    assert (facts["heads"], facts["head_width"]) == (128, 192)  # DeepSeek-AI 2024: 128 + 64 rotary
    assert facts["key_value_heads"] is facts["key_value_ratio"] is facts["crowding"] is None
    assert round(facts["parameters"] / 1e9) == 671


def test_a_hybrid_counts_all_layers_and_names_those_with_attention():
    facts = architecture_facts(JambaConfig(vocab_size=100, hidden_size=32, intermediate_size=64, num_attention_heads=4))
    assert facts["layers"] == 32
    assert facts["attention_layers"] == [4, 12, 20, 28]  # Lieber et al. 2024: one in eight, the fifth of each block
    assert facts["windows"] == [None] * 4


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (T5Config(), "t5 is an encoder with a decoder"),
        (BartConfig(), "bart is an encoder with a decoder"),
        (MambaConfig(), "mamba: the configuration has no num_attention_heads"),
        (FNetConfig(), "fnet: the configuration has no num_attention_heads"),
        (ViTConfig(), "vit: transformers has no causal or masked language model"),
    ],
)
def test_what_is_no_stack_of_attention_over_a_text_has_no_class(config, sentence):
    with pytest.raises(ArchitectureError, match=sentence):
        language_model_class(config)


def test_a_decoder_of_a_family_with_encoders_has_one():
    assert language_model_class(BartConfig(is_encoder_decoder=False, is_decoder=True)) is AutoModelForCausalLM
