"""What the loader of transformers says about weights: which it did not find, which it left out, which did not fit.

A tensor that is in no file it fills with random numbers, and goes on. That is harmless where nothing of it is measured,
as of the language-model head that a reward model, or a body saved alone, does not have.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from headwise.models.checks import STACK
from headwise.models.files import CONFIG, weight_files
from headwise.models.headers import FETCH_AGAIN, CheckpointError, Stored, read_headers, read_object

# What earlier versions of transformers saved with the weights and now computes: causal masks (of more than one
# dimension, as no bias is), what stands for minus infinity, angles of positions, running numbers.
MASKS = re.compile(r"(?:^|\.)(?:attn|attention)\.bias$")
CONSTANTS = re.compile(
    r"(?:^|\.)(?:masked_bias|causal_mask|inv_freq|(?:cos|sin)_cached|embed_positions\.(?:weights|_float_tensor)"
    r"|position_ids|token_type_ids)$"
)
# First names of what a model has beside its body, for this task or another.
HEADS = frozenset(
    {"classifier", "cls", "lm_head", "predictions", "qa_outputs", "score", "v_head", "value_head", "vocab_projector"}
)

# Parts of a body that no text passes through on its way to attention.
ASIDE = frozenset({"pooler", "vision_tower", "vision_model", "visual", "audio_tower", "multi_modal_projector"})


def verify_loaded(model: PreTrainedModel, report: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Refuse a model of which the body has tensors that were not loaded, or not all that the files hold.

    report: what `from_pretrained(..., output_loading_info=True, ignore_mismatched_sizes=True)` returns beside the
    model. Returns the names of tensors of the head that are in no file, sorted: their numbers are random.

    Raises CheckpointError, which names a tensor.
    """
    if report["mismatched_keys"]:
        name, stored, expected = min(report["mismatched_keys"])
        raise CheckpointError(
            f"{folder}: '{name}' has the shape {list(stored)} in the weights and {list(expected)} by config.json: "
            "correct config.json, or choose the weights that belong to it"
        )
    if report["error_msgs"]:
        raise CheckpointError(f"{folder}: weights do not fit config.json ({report['error_msgs'][0]}): {FETCH_AGAIN}")
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    head = _head_names(model, prefix)
    missing = set(report["missing_keys"])
    if lost := sorted(missing - head):
        raise CheckpointError(
            f"{folder}: {_listed(lost)} in no file of weights, and would be random numbers: "
            f"{_remedy(lost, report['unexpected_keys'])}"
        )
    left = _of_the_body(model, prefix, report["unexpected_keys"], read_headers(weight_files(folder)))
    # What quantized weights are stored with is the business of their library.
    if read_object(folder / CONFIG).get("quantization_config") is None and (names := sorted(left)):
        raise CheckpointError(
            f"{folder}: {_listed(names)} in the weights, where config.json describes a model without, so that another "
            "model would be measured: correct config.json, or choose the weights that belong to it"
        )
    return tuple(sorted(missing & head))


def _head_names(model: PreTrainedModel, prefix: str) -> set[str]:
    """Names of tensors that are not of the body; where the body is not told apart, those of the output embedding."""
    names = set(model.state_dict())
    if prefix:
        return {name for name in names if not name.startswith(prefix)}
    output = model.get_output_embeddings()
    paths = [path for path, module in model.named_modules() if module is output]
    return {name for name in names if any(name.startswith(f"{path}.") for path in paths)}


def _of_the_body(
    model: PreTrainedModel, prefix: str, unexpected: Iterable[str], stored: Mapping[str, Stored]
) -> Iterator[str]:
    """Those of the names that files hold and the model does not that are, by their place, parts of the body."""
    parts = {name for name, _ in model.base_model.named_children()}
    # transformers takes weights of a body that was saved alone, without its prefix.
    alone = not any(name.startswith(prefix) for name in stored)
    layers, further = (
        getattr(model.config, field, None) or 0 for field in ("num_hidden_layers", "num_nextn_predict_layers")
    )
    for name in unexpected:
        # Layers that guess further tokens are numbered on after the model's own.
        if (layer := STACK.match(name)) and layers <= int(layer[2]) < layers + further:
            continue
        is_mask = MASKS.search(name) and name in stored and len(stored[name].shape) != 1
        if is_mask or CONSTANTS.search(name) or ASIDE & set(name.split(".")):
            continue
        first = name.removeprefix(prefix).partition(".")[0]
        if first in parts or (prefix and (name.startswith(prefix) or (alone and first not in HEADS))):
            yield name


def _remedy(lost: list[str], unexpected: Iterable[str]) -> str:
    """What to do about tensors that are missing: take a prefix off, or another one instead, where they are there under
    another name."""
    own, _, rest = lost[0].partition(".")
    for name in unexpected:
        if name.endswith(f".{lost[0]}"):
            prefix = name.removesuffix(lost[0])
            return f"they are there under the prefix '{prefix}': take it off the names and save the file again"
        other, _, of_other = name.partition(".")
        if rest and of_other == rest:
            return f"they are there as '{other}.…' in place of '{own}.…': rename them and save the file again"
    return f"{FETCH_AGAIN}, or save the model again with `save_pretrained`"


def _listed(names: list[str]) -> str:
    if len(names) == 1:
        return f"'{names[0]}' is"
    return f"'{names[0]}' and {len(names) - 1} more are"
