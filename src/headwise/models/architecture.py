"""Facts about attention, from a model's configuration and from what it builds."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from headwise.models.hooked import HOOKED_GPT2
from headwise.models.kinds import not_text_alone
from headwise.models.reach import possible_windows, reach_by_layer

# Architectures whose configuration says nothing of key and value heads because every head has its own.
MULTI_HEAD_ONLY = frozenset(
    {"biogpt", "bloom", "codegen", "ctrl", "gpt2", "gpt_neo", "gpt_neox", "gptj", "mpt", "openai-gpt", "opt"}
    | {"persimmon", "xglm", HOOKED_GPT2}
    | {"bert", "distilbert", "electra", "flaubert", "layoutlm", "modernbert", "mpnet", "roberta", "xlm", "xlm-roberta"}
)
# How positions are coded, where the architecture leaves no choice and the configuration does not say.
POSITIONS = {
    **dict.fromkeys(("biogpt", "gpt2", "gpt_bigcode", "gpt_neo", HOOKED_GPT2, "openai-gpt", "opt"), "learned"),
    **dict.fromkeys(("bert", "distilbert", "electra", "flaubert", "layoutlm", "mpnet"), "learned"),
    **dict.fromkeys(("roberta", "xlm", "xlm-roberta"), "learned"),
    **dict.fromkeys(("codegen", "gptj"), "rotary"),
    **dict.fromkeys(("bloom", "mpt"), "alibi"),
    **dict.fromkeys(("ctrl", "xglm"), "sinusoidal"),
    "jamba": "none",
}
# Architectures that rotate queries and keys where attention slides, and nowhere else.
ROTARY_WHERE_SLIDING = frozenset({"afmoe", "cohere2", "exaone4", "exaone_moe"})
# Architectures whose number of key and value heads differs between layers, although the configuration names one.
VARYING_KEY_VALUE_HEADS = frozenset({"mimo_v2_flash"})
# Kinds of layers, as `layer_types` has them, that hold no attention matrix.
WITHOUT_ATTENTION = frozenset({"conv", "linear_attention", "mamba", "recurrent"})
# Kinds of layers whose queries reach back no further than a window or a chunk.
BOUNDED = frozenset({"sliding_attention", "chunked_attention"})
KNOWN = BOUNDED | WITHOUT_ATTENTION | {"full_attention"}
WITHOUT_HEADS = (
    "{}: the configuration has no num_attention_heads, and attention heads are what is measured: choose a checkpoint "
    "of another architecture"
)


class ArchitectureError(ValueError):
    """A configuration whose attention is not understood; the message names the model type and the field."""


def architecture_facts(config: PreTrainedConfig) -> dict[str, Any]:
    """What a configuration says about attention, as values of JSON.

    attention: "multi-head", "grouped-query", "multi-query", or "multi-head latent" (DeepSeek-AI 2024: keys and values
        of all heads are made from one latent vector).
    heads, key_value_heads, key_value_ratio: numbers per layer, and key and value heads per head, within 0…1; the
        latter two None for multi-head latent attention, whose heads share a vector and no keys or values.
    head_width: of queries and keys. layers, hidden: all layers, and width of the residual stream.
    attention_layers: indices of the layers that have attention; fewer than `layers` in hybrid models.
    windows: per attention layer, the most tokens that a query reaches back, itself included; None where all. Read from
        the masks that the model makes (see `reach`). Windows of encoders reach ahead as far. The length of a chunk
        where attention stays within chunks (Llama 4): queries near the start of one reach back less.
    positions: "rotary", "rotary in some layers", "learned", "sinusoidal", "alibi" or "none".
    crowding: heads / key_value_heads × heads / head_width, the ρ of D'Elia (2026); None as key_value_heads is.
    parameters: tied weights counted once.

    Raises ArchitectureError for attention that these facts do not describe.
    """
    config = config.get_text_config(decoder=True)
    if getattr(config, "is_heterogeneous", False) or config.model_type in VARYING_KEY_VALUE_HEADS:
        raise ArchitectureError(
            f"{config.model_type}: heads differ between layers in number or width, which one number per model cannot "
            "describe: its attention can be measured, and the columns of these facts stay empty"
        )
    if not hasattr(config, "num_attention_heads"):
        raise ArchitectureError(WITHOUT_HEADS.format(config.model_type))
    heads = config.num_attention_heads
    latent = _declared(config, "kv_lora_rank") is not None
    key_value_heads = None if latent else _key_value_heads(config)
    head_width = _head_width(config)
    model = without_memory(config)
    windows = _windows(config, model)
    return {
        "attention": _attention_kind(heads, key_value_heads),
        "heads": heads,
        "key_value_heads": key_value_heads,
        "key_value_ratio": None if key_value_heads is None else key_value_heads / heads,
        "head_width": head_width,
        "layers": config.num_hidden_layers,
        "attention_layers": list(windows),
        "hidden": config.hidden_size,
        "windows": list(windows.values()),
        "positions": _positions(config),
        "crowding": None if key_value_heads is None else heads / key_value_heads * heads / head_width,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def is_encoder(config: PreTrainedConfig) -> bool:
    """Whether a model of this configuration reads its text both ways."""
    return config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)


def language_model_class(config: PreTrainedConfig) -> type[AutoModelForCausalLM] | type[AutoModelForMaskedLM]:
    """What loads or builds a model of this configuration: encoders have a masked language model.

    Raises ArchitectureError for a model type that transformers has no language model of one stack for.
    """
    kind = config.model_type
    if problem := not_text_alone(
        {"model_type": kind, "is_encoder_decoder": getattr(config, "is_encoder_decoder", False)}
    ):
        raise ArchitectureError(problem)
    if not hasattr(config.get_text_config(decoder=True), "num_attention_heads"):
        raise ArchitectureError(WITHOUT_HEADS.format(kind))
    if is_encoder(config):
        return AutoModelForMaskedLM
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or kind == HOOKED_GPT2:
        return AutoModelForCausalLM
    raise ArchitectureError(
        f"{kind}: transformers has no causal or masked language model of this type: choose another checkpoint"
    )


def _attention_kind(heads: int, key_value_heads: int | None) -> str:
    if key_value_heads is None:
        return "multi-head latent"
    if key_value_heads == heads:
        return "multi-head"
    return "multi-query" if key_value_heads == 1 else "grouped-query"


def _key_value_heads(config: PreTrainedConfig) -> int:
    heads: int = config.num_attention_heads
    if hasattr(type(config), "new_decoder_architecture"):  # Falcon: num_kv_heads counts in the new architecture alone
        if config.new_decoder_architecture:
            return config.num_kv_heads
        return 1 if config.multi_query else heads
    if (declared := _declared(config, "num_key_value_heads")) is not None:
        return declared
    if hasattr(type(config), "multi_query"):
        return 1 if config.multi_query else heads
    if config.model_type in MULTI_HEAD_ONLY:
        return heads
    raise ArchitectureError(
        f"{config.model_type}: the configuration names no number of key and value heads: "
        "add the model type to architecture.py with the field that holds it"
    )


def _head_width(config: PreTrainedConfig) -> int:
    if _declared(config, "kv_lora_rank") is not None:  # DeepSeek: head_dim holds the rotary part alone
        return config.qk_nope_head_dim + config.qk_rope_head_dim
    return _declared(config, "head_dim") or config.hidden_size // config.num_attention_heads


def declared_attention_layers(config: PreTrainedConfig) -> list[int] | None:
    """Indices of the layers that have attention by their declared kinds, all where one kind is all there is; None where
    a kind is not known here."""
    config = config.get_text_config(decoder=True)
    kinds = _layer_kinds(config)
    if kinds is None:
        layers = getattr(config, "num_hidden_layers", None)
        return None if layers is None else list(range(layers))
    if set(kinds) - KNOWN:
        return None
    return [layer for layer, kind in enumerate(kinds) if kind not in WITHOUT_ATTENTION]


def _windows(config: PreTrainedConfig, model: PreTrainedModel) -> dict[int, int | None]:
    """The window of each attention layer, by layer index."""
    kinds = _layer_kinds(config)
    if unknown := sorted(set(kinds or ()) - KNOWN):
        raise ArchitectureError(
            f"{config.model_type}: layer_types holds '{unknown[0]}', whose reach in tokens is not known: "
            "add it to architecture.py"
        )
    if (measured := reach_by_layer(model)) is not None:
        return dict(sorted(measured.items()))
    if config.model_type == "gpt_neo":
        reach = {"local": config.window_size, "global": None}
        return {layer: reach[kind] for layer, kind in enumerate(config.attention_layers)}
    window = _declared(config, "attention_chunk_size") or _declared(config, "sliding_window")
    if possible_windows(config) and not (window and BOUNDED.intersection(kinds or ())):
        raise ArchitectureError(
            f"{config.model_type}: the configuration names a window, but neither its layer_types nor the model's masks "
            "say which layers keep to it: its attention can be measured, and the columns of these facts stay empty"
        )
    kinds = kinds or ["full_attention"] * config.num_hidden_layers
    return {
        layer: window if kind in BOUNDED else None for layer, kind in enumerate(kinds) if kind not in WITHOUT_ATTENTION
    }


def _layer_kinds(config: PreTrainedConfig) -> list[str] | None:
    """The kind of each layer in the words of `layer_types`; None where the architecture has one kind alone."""
    if (kinds := _declared(config, "layer_types")) is not None:
        return kinds
    kinds = _declared(config, "layers_block_type")
    return kinds and ["full_attention" if kind == "attention" else kind for kind in kinds]


def _positions(config: PreTrainedConfig) -> str:
    if getattr(config, "alibi", False):
        return "alibi"
    if getattr(config, "sinusoidal_pos_embds", False) or getattr(config, "sinusoidal_embeddings", False):
        return "sinusoidal"
    if config.model_type in POSITIONS:
        return POSITIONS[config.model_type]
    if not _declared(config, "rope_parameters"):
        raise ArchitectureError(
            f"{config.model_type}: the configuration does not say how positions are coded: "
            "add the model type to architecture.py"
        )
    if config.model_type == "granitemoehybrid" and config.position_embedding_type != "rope":
        return "none"
    rotates = _rotating_layers(config)
    return "rotary" if all(rotates) else "rotary in some layers" if any(rotates) else "none"


def _rotating_layers(config: PreTrainedConfig) -> list[bool]:
    """Which layers rotate queries and keys, of an architecture that does."""
    if config.model_type in ROTARY_WHERE_SLIDING and config.sliding_window is not None:
        return [kind == "sliding_attention" for kind in config.layer_types]
    # SmolLM3 and Llama 4 mark the layers that do rotate, whatever the name of the field says.
    return [bool(rotates) for rotates in _declared(config, "no_rope_layers") or [True]]


def without_memory(config: PreTrainedConfig) -> PreTrainedModel:
    """A model of this configuration, with no weight allocated."""
    with torch.device("meta"):
        model: PreTrainedModel = language_model_class(config).from_config(config)
    return model.eval()


def _declared(config: PreTrainedConfig, field: str) -> Any:
    """A field that the architecture's own class declares; a stray key in a config.json acts on nothing."""
    return getattr(config, field, None) if hasattr(type(config), field) else None
