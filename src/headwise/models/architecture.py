"""Facts about attention, read from a model's configuration and never from its name."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

# Architectures whose configuration says nothing of key and value heads because every head has its own.
MULTI_HEAD_ONLY = frozenset({"codegen", "gpt2", "gpt_neox", "gptj", "opt"})
LEARNED_POSITIONS = frozenset({"gpt2", "gpt_bigcode", "opt"})
ROTARY_WITHOUT_PARAMETERS = frozenset({"codegen", "gptj"})


class ArchitectureError(ValueError):
    """A configuration whose attention is not understood; the message names the model type and the field."""


def architecture_facts(config: PreTrainedConfig) -> dict[str, Any]:
    """What a configuration says about attention, as values of JSON.

    `attention` (multi-head, grouped-query or multi-query), `heads`, `key_value_heads`, `key_value_ratio` (key
    and value heads per head, within 0…1), `head_width`, `layers`, `hidden`, `windows` (per layer: tokens that
    a query reaches, itself included; None where all), `positions` (rotary, learned or alibi), `crowding`
    (heads / key_value_heads × heads / head_width: the ρ of D'Elia 2026), `parameters` (tied weights counted
    once).

    Raises ArchitectureError for attention that these facts do not describe.
    """
    config = config.get_text_config(decoder=True)
    if not hasattr(config, "num_attention_heads"):
        raise ArchitectureError(
            f"{config.model_type}: the configuration has no num_attention_heads: headwise measures attention heads"
        )
    heads = config.num_attention_heads
    key_value_heads = _key_value_heads(config)
    head_width = _declared(config, "head_dim") or config.hidden_size // heads
    return {
        "attention": _attention_kind(heads, key_value_heads),
        "heads": heads,
        "key_value_heads": key_value_heads,
        "key_value_ratio": key_value_heads / heads,
        "head_width": head_width,
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "windows": _windows(config),
        "positions": _positions(config),
        "crowding": heads / key_value_heads * heads / head_width,
        "parameters": _parameters(config),
    }


def window_acts(facts: Mapping[str, Any], tokens: int) -> list[bool]:
    """Per layer: whether the sliding window hides any key from any query of a prompt of that many tokens."""
    return [window is not None and window < tokens for window in facts["windows"]]


def _attention_kind(heads: int, key_value_heads: int) -> str:
    if key_value_heads == heads:
        return "multi-head"
    return "multi-query" if key_value_heads == 1 else "grouped-query"


def _key_value_heads(config: PreTrainedConfig) -> int:
    heads: int = config.num_attention_heads
    if _declared(config, "kv_lora_rank") is not None:
        raise ArchitectureError(
            f"{config.model_type}: keys and values are made from a latent vector (kv_lora_rank), not by "
            "key and value heads: leave this model out of comparisons by architecture"
        )
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


def _windows(config: PreTrainedConfig) -> list[int | None]:
    window = _declared(config, "sliding_window")
    kinds = _declared(config, "layer_types") or ["sliding_attention"] * config.num_hidden_layers
    if unknown := sorted(set(kinds) - {"sliding_attention", "full_attention"}):
        raise ArchitectureError(
            f"{config.model_type}: layer_types holds '{unknown[0]}', whose reach in tokens is not known: "
            "add it to architecture.py"
        )
    return [window if kind == "sliding_attention" else None for kind in kinds]


def _positions(config: PreTrainedConfig) -> str:
    if getattr(config, "alibi", False):
        return "alibi"
    if config.model_type in LEARNED_POSITIONS:
        return "learned"
    if _declared(config, "rope_parameters") or config.model_type in ROTARY_WITHOUT_PARAMETERS:
        return "rotary"
    raise ArchitectureError(
        f"{config.model_type}: the configuration does not say how positions are coded: "
        "add the model type to architecture.py"
    )


def _parameters(config: PreTrainedConfig) -> int:
    """Counted on a model without memory: no weight is allocated."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


def _declared(config: PreTrainedConfig, field: str) -> Any:
    """A field that the architecture's own class declares; a stray key in a config.json acts on nothing."""
    return getattr(config, field, None) if hasattr(type(config), field) else None
