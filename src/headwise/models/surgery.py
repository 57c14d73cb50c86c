"""Key and value heads duplicated: a grouped-query or multi-query model as the multi-head model that it equals.

Ainslie et al. (2023) mean-pool the key and value heads of a multi-head model into those of a grouped-query model.
This is the other direction, and it is exact: every query head gets a copy of the key and value head that it reads, so
that the model computes the same function with as many key and value heads as query heads.
"""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from headwise.models.architecture import ArchitectureError, architecture_facts
from headwise.models.checkpoint import checkpoint_folder
from headwise.models.files import CONFIG
from headwise.models.headers import read_object
from headwise.models.load import DTYPES, load_checkpoint
from headwise.models.tokenizer import tokenizer_files
from headwise.runtime.atomic import atomic
from headwise.runtime.json_files import read_json, write_json

# Logits of the two models agree within rounding; more is a layout of weights that was not understood.
LARGEST_RELATIVE_DIFFERENCE = {torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 2e-1}
CHECKED_TOKENS = 8


class SurgeryError(ValueError):
    """A model whose key and value heads cannot be duplicated; the message names the model type and why."""


def duplicate_checkpoint(checkpoint: Path, output: Path) -> None:
    """Save a checkpoint with duplicated key and value heads as an ordinary checkpoint, tokenizer included, atomically.

    checkpoint: as `load_checkpoint` takes it. Weights keep their precision; a head that it lacks, the copy lacks too.
    Raises SurgeryError as `duplicate_key_value_heads` does, and CheckpointError as `load_checkpoint` does.
    """
    folder = checkpoint_folder(checkpoint)
    config = read_object(folder / CONFIG)
    stored = config.get("dtype") or config.get("torch_dtype")
    model, _ = load_checkpoint(checkpoint, stored if isinstance(stored, str) and stored in DTYPES else "float32")
    duplicated = duplicate_key_value_heads(model)
    with atomic(output) as temporary:
        lacking = cast(Any, model).headwise_random
        weights = {name: weight for name, weight in duplicated.state_dict().items() if name not in lacking}
        duplicated.save_pretrained(temporary, state_dict=weights)
        for path in tokenizer_files(folder):
            shutil.copyfile(path, temporary / path.name)
        if (folder / "facts.json").is_file():
            facts = read_json(folder / "facts.json")
            kept = {key: facts[key] for key in ("corpus_digest", "tokenizer_digest") if key in facts}
            write_json({**kept, "architecture": architecture_facts(duplicated.config)}, temporary / "facts.json")


def duplicate_key_value_heads(model: PreTrainedModel) -> PreTrainedModel:
    """A multi-head model that computes what a grouped-query or multi-query model computes.

    Same class, dtype and device, in evaluation mode. Key and value head k of G becomes heads k·H/G … (k+1)·H/G − 1 of
    H, which are those that its query heads read.

    Raises SurgeryError, naming the model type, for a model that has as many key and value heads as heads, or none
    (multi-head latent attention), for one whose weights are laid out in a way that is not known here, and where the
    two models do not give the same logits.
    """
    kind = model.config.model_type
    try:
        facts = architecture_facts(model.config)
    except ArchitectureError as error:
        raise SurgeryError(f"key and value heads cannot be duplicated: {error}") from None
    heads, key_value_heads, width = facts["heads"], facts["key_value_heads"], facts["head_width"]
    if key_value_heads is None or key_value_heads == heads:
        raise SurgeryError(
            f"model type '{kind}' has {facts['attention']} attention: only grouped-query and multi-query models have "
            "key and value heads to duplicate."
        )
    twin = _multi_head_twin(model, heads)
    expected = twin.state_dict()
    weights = {}
    for name, weight in model.state_dict().items():
        if name not in expected:
            raise _unknown_layout(kind, name)
        wanted = tuple(expected[name].shape)
        if tuple(weight.shape) != wanted:
            weight = _duplicated(name, weight, heads, key_value_heads, width)
        if tuple(weight.shape) != wanted:
            raise _unknown_layout(kind, name)
        weights[name] = weight
    if missing := sorted(set(expected) - set(weights)):
        raise _unknown_layout(kind, missing[0])
    twin.load_state_dict(weights)
    twin = cast(PreTrainedModel, cast(nn.Module, twin).to(model.device).eval())
    _check_same_logits(model, twin)
    return twin


def _multi_head_twin(model: PreTrainedModel, heads: int) -> PreTrainedModel:
    """A model of the same class with as many key and value heads as heads, and weights to be overwritten."""
    config = copy.deepcopy(model.config)
    _set_key_value_heads(config.get_text_config(decoder=True), heads)
    with torch.random.fork_rng(devices=[]):
        return cast(PreTrainedModel, cast(nn.Module, type(model)(config)).to(model.dtype))


def _set_key_value_heads(config: PreTrainedConfig, heads: int) -> None:
    own = cast(Any, config)
    if hasattr(type(config), "new_decoder_architecture"):  # Falcon
        own.num_kv_heads = heads
        own.multi_query = False
    elif hasattr(type(config), "num_key_value_heads"):
        own.num_key_value_heads = heads
    else:  # GPT-BigCode
        own.multi_query = False


def _duplicated(name: str, weight: Tensor, heads: int, key_value_heads: int, width: int) -> Tensor:
    """A weight or bias of keys, values or all three, by the layout that its module's name stands for."""
    module = name.rpartition(".")[0].rpartition(".")[2]
    layout = FUSED_LAYOUTS.get(module)
    if layout is not None:
        return layout(weight, heads, key_value_heads, width)
    return _repeat(weight, key_value_heads, heads)


def _repeat(weight: Tensor, key_value_heads: int, heads: int) -> Tensor:
    """(G·d, …) to (H·d, …): each head's block of d rows as often as query heads read it."""
    if weight.ndim == 0 or len(weight) % key_value_heads:
        return weight
    blocks = weight.reshape(key_value_heads, -1, *weight.shape[1:])
    return blocks.repeat_interleave(heads // key_value_heads, dim=0).flatten(0, 1)


def _queries_keys_values(weight: Tensor, heads: int, key_value_heads: int, width: int) -> Tensor:
    """Phi-3: rows of all queries, then of all keys, then of all values."""
    sizes = [heads * width, key_value_heads * width, key_value_heads * width]
    queries, keys, values = weight.split(sizes)
    return torch.cat([queries, _repeat(keys, key_value_heads, heads), _repeat(values, key_value_heads, heads)])


def _head_by_head(weight: Tensor, heads: int, key_value_heads: int, width: int) -> Tensor:
    """Falcon and GPT-BigCode: per key and value head its queries, its key, its value; with one head per group, in
    this order head by head."""
    shared = heads // key_value_heads
    groups = weight.reshape(key_value_heads, shared + 2, width, *weight.shape[1:])
    queries, keys, values = groups.split([shared, 1, 1], dim=1)
    joined = torch.stack([queries, keys.expand_as(queries), values.expand_as(queries)], dim=2)
    return joined.reshape(heads * 3 * width, *weight.shape[1:])


FUSED_LAYOUTS: dict[str, Callable[[Tensor, int, int, int], Tensor]] = {
    "qkv_proj": _queries_keys_values,
    "query_key_value": _head_by_head,
    "c_attn": _head_by_head,
}


def _check_same_logits(model: PreTrainedModel, twin: PreTrainedModel) -> None:
    tokens = torch.arange(CHECKED_TOKENS, device=model.device)[None] % model.config.get_text_config().vocab_size
    with torch.inference_mode():
        logits, again = (each(input_ids=tokens, use_cache=False).logits.float() for each in (model, twin))
    difference = float((logits - again).abs().max() / logits.abs().max())
    if not difference <= LARGEST_RELATIVE_DIFFERENCE.get(model.dtype, 1e-3):
        raise SurgeryError(
            f"model type '{model.config.model_type}': with duplicated heads its logits differ by {difference:.2g} of "
            "the largest: its weights are laid out in a way that surgery.py does not know."
        )


def _unknown_layout(kind: str, name: str) -> SurgeryError:
    return SurgeryError(
        f"model type '{kind}': it is not known how the key and value heads of {name} are laid out: add the layout to "
        "surgery.py, or choose a checkpoint of another architecture."
    )
