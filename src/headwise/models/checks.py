"""What can be known of a checkpoint from its files alone: whether it is whole, and whether its parts belong together.

`check_checkpoint` reads config.json, the index of shards and the headers of the weights, and no weight. What it lets
pass may still be refused when the weights are loaded, tensor by tensor (`headwise.models.load`).

Imported by the Snakefile, so nothing heavy is imported here.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from headwise.models.files import (
    CONFIG,
    GENERATION,
    INDEX,
    VOCABULARIES,
    WEIGHTS,
    pickled_weights,
    weight_files,
    weight_map,
)
from headwise.models.headers import FETCH_AGAIN, CheckpointError, Stored, read_headers, read_object
from headwise.models.kinds import not_text_alone
from headwise.models.limits import usable_positions
from headwise.models.quantizations import check_dtypes, check_quantization
from headwise.models.shape import HEADS, HIDDEN, LAYERS, text_config

KEY_VALUE_HEADS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "n_head_kv")
# Fields that some architectures have and that make the width of a head independent of the model's.
HEAD_WIDTHS = ("head_dim", "attention_head_dim", "d_kv", "kv_lora_rank", "kv_channels", "attention_head_size")
# Beyond it a count is a mistake, which would fill all memory before it is noticed.
LARGEST = 2**31
DTYPES = frozenset(
    {"float32", "float", "float64", "double", "float16", "half", "bfloat16", "float8_e4m3fn", "float8_e5m2"}
)
# Kinds of rotary positions that transformers computes, with the numbers that each needs.
ROPE_TYPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("default", "mrope", "axial", "proportional"), ()),
    **dict.fromkeys(("linear", "dynamic", "yarn"), ("factor",)),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "longrope": ("short_factor", "long_factor"),
}
# What Phi called longrope at first.
FIRST_LONGROPE = {model_type: ("su", "yarn") for model_type in ("phi3", "phi4_multimodal")}
ADAPTER_CONFIG = "adapter_config.json"
MERGE = "merge it into its base with peft (`model.merge_and_unload().save_pretrained(folder)`) and give that folder"
# What wrappers put before, or between, the names of weights.
WRAPPERS = {
    "_orig_mod": "torch.compile",
    "module": "DataParallel",
    "_forward_module": "Lightning Fabric",
    "_fsdp_wrapped_module": "FullyShardedDataParallel",
    "_checkpoint_wrapped_module": "activation checkpointing",
}
# `module` may be the name of a model's own part, except in front of everything.
ONLY_IN_FRONT = frozenset({"module"})
STACK = re.compile(r"^((?:[^.]+\.)*?(?:layers|layer|h|blocks|block))\.(\d+)\.")
# Modules beside the model proper that predict more than one token ahead.
FURTHER_TOKENS = "mtp"
EMBEDDINGS = re.compile(r"(?:^|\.)(?:embed_tokens|wte|word_embeddings|embed_in|tokens_embed|tok_embeddings)\.weight$")


def check_checkpoint(folder: Path, own_code: bool = False) -> None:
    """Refuse a checkpoint folder that is not whole, whose files contradict each other, or in which something lies that
    would change the model and is not part of it. own_code: whether the checkpoint's own code may run; then config.json
    may hold anything.

    Raises CheckpointError, which names file, field or tensor, and remedy.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: there is no such checkpoint folder: check the path")
    names = [path.name for path in folder.iterdir()]
    check_names(names, str(folder))
    if CONFIG not in names:
        raise CheckpointError(f"{folder}: config.json is missing: save the model with `save_pretrained`")
    config = folder / CONFIG
    content = read_object(config)
    check_config(content, config, own_code)
    _check_generation(folder / GENERATION)
    _check_files(folder)
    tensors = read_headers(weight_files(folder))
    _check_index(folder, tensors)
    _check_names_of_weights(tensors)
    check_dtypes(tensors, content, config)
    if not own_code and "text_config" not in content:
        _check_layers(tensors, content, config)
        _check_vocabulary(tensors, content, config)


def check_names(names: Iterable[str], where: str) -> None:
    """Refuse files that would change a model they lie beside, by their names alone. Raises CheckpointError."""
    names = set(names)
    adapters = sorted(name for name in names if name == ADAPTER_CONFIG or re.fullmatch(r"adapter_model\..*", name))
    if adapters and CONFIG in names:
        raise CheckpointError(
            f"{where}: an adapter ({adapters[0]}) lies beside the weights of a model, and whether it is part of the "
            f"model cannot be known: {MERGE}, or, where it is merged already, give a copy without it"
        )
    if adapters:
        raise CheckpointError(f"{where}: an adapter alone ({adapters[0]}), which is no model: {MERGE}")


def check_config(content: Mapping[str, Any], config: Path, own_code: bool = False) -> None:
    """Refuse what config.json says and cannot be. Raises CheckpointError, which names the field."""
    if (named := content.get("transformers_weights")) is not None:
        raise CheckpointError(
            f"{config}: transformers_weights names '{named}', and weights are read from {WEIGHTS} or {INDEX} alone: "
            "rename the file, and remove the field"
        )
    check_quantization(content, config)
    for field in ("dtype", "torch_dtype"):
        value = content.get(field)
        if isinstance(value, str) and value not in DTYPES:
            raise CheckpointError(f"{config}: {field} is '{value}', which is no dtype: write for example 'bfloat16'")
    if not isinstance(content.get("auto_map", {}), dict):
        raise CheckpointError(f"{config}: auto_map is no object: correct it, or remove it")
    if own_code:
        return
    if not isinstance(content.get("model_type"), str):
        raise CheckpointError(
            f"{config}: model_type is missing, so that nobody knows which architecture this is: save the model again "
            "with `save_pretrained`, or add it"
        )
    if problem := not_text_alone(content):
        raise CheckpointError(f"{config}: {problem}")
    inner = text_config(content)
    for names in (LAYERS, HEADS, HIDDEN, ("vocab_size",)):
        _check_numbers(inner, names, config)
    for field in (*KEY_VALUE_HEADS, "head_dim", "num_labels"):
        if inner.get(field) is not None:
            _check_numbers(inner, (field,), config)
    _check_divisions(inner, config)
    for field in ("layer_types", "mlp_layer_types"):
        kinds, layers = inner.get(field), stated(inner, LAYERS)
        if isinstance(kinds, list) and layers is not None and len(kinds) != layers:
            raise CheckpointError(
                f"{config}: {field} names {len(kinds)} layers, and there are {layers}: correct one of them"
            )
    _check_positions(inner, config)


def stated(content: Mapping[str, Any], names: Iterable[str]) -> int | None:
    """The number that config.json has under one of several names; None where there is none, or they disagree."""
    found = {content[name] for name in names if isinstance(content.get(name), int)}
    return found.pop() if len(found) == 1 else None


def embedding_rows(folder: Path) -> int | None:
    """The number of tokens that a checkpoint has embeddings of, from the shape of the tensor, else as config.json says.

    None where neither is known. Raises CheckpointError for damaged files.
    """
    shape = _embedding(read_headers(path for path in weight_files(folder) if path.is_file()))
    if shape is not None:
        return shape[1].shape[0]
    config = folder / CONFIG
    return stated(text_config(read_object(config)), ("vocab_size",)) if config.is_file() else None


def stated_positions(folder: Path) -> int | None:
    """The longest text, in tokens, that config.json allows; None where it names no limit. Raises CheckpointError for a
    damaged one."""
    return usable_positions(text_config(read_object(folder / CONFIG)))


def _check_generation(path: Path) -> None:
    """Refuse settings of generation that transformers would ignore without a word, and with them where a text ends."""
    if not path.is_file():
        return
    ends = read_object(path).get("eos_token_id")
    if not all(isinstance(token, int) for token in (ends if isinstance(ends, list) else [ends or 0])):
        raise CheckpointError(f"{path}: eos_token_id is {ends!r}, and must be a token's number, or several: correct it")


def _check_files(folder: Path) -> None:
    missing = [path.name for path in weight_files(folder) if not path.is_file()]
    if missing and (folder / INDEX).is_file():
        raise CheckpointError(f"{folder}: {', '.join(missing)} named by {INDEX} is missing: {FETCH_AGAIN}")
    if missing:
        if pickled := pickled_weights(path.name for path in folder.iterdir()):
            raise CheckpointError(
                f"{folder}: the weights are pickled ({pickled[0]}), and reading a pickle can run any code: "
                f"convert them to {WEIGHTS}, with `model.save_pretrained(folder)` where you trust the file"
            )
        raise CheckpointError(f"{folder}: {WEIGHTS} is missing: save the model with `save_pretrained`")
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise CheckpointError(f"{folder}: tokenizer.json is missing: save the tokenizer beside the model")


def _check_numbers(content: Mapping[str, Any], names: tuple[str, ...], config: Path) -> None:
    """Refuse a number under one of these names that is none; lists, which some architectures have, are left alone."""
    for name in names:
        value = content.get(name, 1)
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if isinstance(value, list | dict) or (value is None and any(isinstance(content.get(n), int) for n in names)):
            continue
        if not is_number or not 1 <= value <= LARGEST:
            raise CheckpointError(
                f"{config}: {name} is {value!r}, and must be a whole number of 1 to {LARGEST}: correct it"
            )


def _check_divisions(content: Mapping[str, Any], config: Path) -> None:
    heads, hidden = stated(content, HEADS), stated(content, HIDDEN)
    if heads is None:
        return
    if hidden is not None and hidden % heads and not any(content.get(field) for field in HEAD_WIDTHS):
        raise CheckpointError(
            f"{config}: a hidden size of {hidden} does not divide into {heads} heads, and no head_dim is given: "
            "correct one of them"
        )
    key_value_heads = stated(content, KEY_VALUE_HEADS)
    if key_value_heads is not None and heads % key_value_heads:
        raise CheckpointError(
            f"{config}: {heads} heads cannot share {key_value_heads} key and value heads evenly: correct one of them"
        )


def _check_positions(content: Mapping[str, Any], config: Path) -> None:
    """Rotary positions of a kind that is known and complete, for each kind of layer where they differ."""
    for field in ("rope_parameters", "rope_scaling"):
        given = content.get(field)
        if given is None:
            continue
        if not isinstance(given, dict):
            raise CheckpointError(f"{config}: {field} is {given!r}, and must be an object: correct it")
        nested = [each for each in given.values() if isinstance(each, dict)]
        for parameters in nested or [given]:
            _check_rope(parameters, field, config, str(content.get("model_type")))
            _check_rope_theta(parameters.get("rope_theta"), f"{field}.rope_theta", config)
    _check_rope_theta(content.get("rope_theta"), "rope_theta", config)


def _check_rope_theta(theta: Any, field: str, config: Path) -> None:
    """Angles are powers of it, which are not finite at 0 and not real below."""
    if theta is not None and not (_is_number(theta) and theta > 0):
        raise CheckpointError(
            f"{config}: {field} is {theta!r}, and must be a number above 0: give it as the model's authors do"
        )


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_rope(parameters: Mapping[str, Any], field: str, config: Path, model_type: str) -> None:
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind in FIRST_LONGROPE.get(model_type, ()):
        kind = "longrope"
    if not isinstance(kind, str) or kind not in ROPE_TYPES:
        raise CheckpointError(
            f"{config}: {field}.rope_type is {kind!r}, which transformers does not know: it has {', '.join(ROPE_TYPES)}"
        )
    for name in ROPE_TYPES[kind]:
        value = parameters.get(name)
        numbers = value if isinstance(value, list) and name in ROPE_TYPES["longrope"] else [value]
        if not all(_is_number(number) and number > 0 for number in numbers):
            raise CheckpointError(
                f"{config}: {field} of rope_type '{kind}' needs {name}, which is {value!r}: add it as the model's "
                "authors give it"
            )


def _check_index(folder: Path, tensors: Mapping[str, Stored]) -> None:
    """Every tensor that the index names is in the file that it names."""
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return
    for name, file in weight_map(folder / INDEX).items():
        if name not in tensors or tensors[name].file != folder / file:
            raise CheckpointError(
                f"{folder / file}: '{name}' is missing, which {INDEX} says is in there: {FETCH_AGAIN}"
            )


def _check_names_of_weights(tensors: Mapping[str, Stored]) -> None:
    """Refuse weights under the names that wrappers give them, and adapters among them."""
    for name, stored in tensors.items():
        parts = name.split(".")
        if found := [part for part in parts if part in WRAPPERS and part not in ONLY_IN_FRONT]:
            raise CheckpointError(_wrapped(stored.file, name, found[0]))
        if any(part.startswith(("lora_", "lokr_", "loha_", "hada_")) or part == "base_layer" for part in parts):
            raise CheckpointError(f"{stored.file}: '{name}' belongs to an adapter that is not merged: {MERGE}")
    first = {name.partition(".")[0] for name in tensors}
    if len(first) == 1 and first <= ONLY_IN_FRONT:
        name = min(tensors)
        raise CheckpointError(_wrapped(tensors[name].file, name, first.pop()))


def _wrapped(file: Path, name: str, wrapper: str) -> str:
    return (
        f"{file}: '{name}' carries the prefix '{wrapper}.' of {WRAPPERS[wrapper]}, so that no weight would be found: "
        f"take it off the names (`{{name.replace('{wrapper}.', ''): weight for name, weight in weights.items()}}`) and "
        "save the file again"
    )


def _check_layers(tensors: Mapping[str, Stored], content: Mapping[str, Any], config: Path) -> None:
    """As many layers in the weights as in config.json, where both can be counted."""
    stacks: dict[str, dict[int, str]] = {}
    for name in tensors:
        if (found := STACK.match(name)) and FURTHER_TOKENS not in name.split("."):
            stacks.setdefault(found[1], {}).setdefault(int(found[2]), name)
    layers = stated(content, LAYERS)
    if layers is None or len(stacks) != 1:
        return
    ((stack, examples),) = stacks.items()
    first = next(number for number in range(len(examples) + 1) if number not in examples)
    if first < layers:
        raise CheckpointError(
            f"{config}: {layers} layers, and the weights have none of '{stack}.{first}': correct the number, or "
            f"{FETCH_AGAIN.replace('it', 'the weights')}"
        )
    further = content.get("num_nextn_predict_layers")
    allowed = layers + (further if isinstance(further, int) else 0)
    if left := sorted(number for number in examples if number >= allowed):
        raise CheckpointError(
            f"{config}: {layers} layers, and the weights have more ('{examples[left[0]]}'), which would be left out: "
            "correct the number"
        )


def _check_vocabulary(tensors: Mapping[str, Stored], content: Mapping[str, Any], config: Path) -> None:
    found, words = _embedding(tensors), stated(content, ("vocab_size",))
    if found is not None and words is not None and found[1].shape[0] != words:
        name, stored = found
        raise CheckpointError(
            f"{config}: vocab_size is {words}, and '{name}' in {stored.file.name} has the shape {list(stored.shape)}: "
            f"set vocab_size to {stored.shape[0]}, or choose the weights that belong to it"
        )


def _embedding(tensors: Mapping[str, Stored]) -> tuple[str, Stored] | None:
    """The embedding of tokens, by the names that architectures give it; None where there is not exactly one."""
    found = [(name, stored) for name, stored in tensors.items() if EMBEDDINGS.search(name) and len(stored.shape) == 2]
    return found[0] if len(found) == 1 else None


def verify_architecture(config: Path, own_code: bool) -> None:
    """Refuse a config.json whose architecture transformers does not have; with `own_code`, the checkpoint may bring it.

    Raises CheckpointError.
    """
    from transformers import CONFIG_MAPPING

    content = read_object(config)
    model_type = content.get("model_type")
    if own_code:
        elsewhere = [str(place) for place in content.get("auto_map", {}).values() if "--" in str(place)]
        if elsewhere:
            raise CheckpointError(
                f"{config}: its code lies in another repository ({elsewhere[0].split('--')[0]}), which no commit pins: "
                "choose a checkpoint that brings its own code"
            )
    elif model_type not in CONFIG_MAPPING:
        raise CheckpointError(
            f"{config}: transformers has no architecture '{model_type}', and code that a checkpoint brings is not run: "
            "use a newer transformers, another checkpoint, or, for a model of a hub whose code you have read, "
            "`trust_remote_code: true`"
        )
