"""Why numbers that a model computes are not finite: its weights are not, or they are and its dtype is too narrow."""

import torch
from transformers import PreTrainedModel

WIDER = "set dtype to float32 (extraction.dtype of a study, --dtype on the command line)"


class NotFiniteError(ValueError):
    """A model whose loss or attention is not finite; the message names model and text, and what to do."""


def why_not_finite(model: PreTrainedModel) -> str:
    """The cause, as far as weights show it, and what to do: the end of a sentence. Reads all weights."""
    for name, weight in model.named_parameters():
        if weight.is_meta or not weight.is_floating_point() or bool(weight.isfinite().all()):
            continue
        # A number that is too large for float16 is infinite there, never NaN.
        if weight.dtype == torch.float32 or bool(weight.isnan().any()):
            return (
                f"the weights of '{name}' are not either, in any dtype: choose a checkpoint whose training ended well"
            )
        return f"the weights of '{name}' are not either in {_name(weight.dtype)}: {WIDER}"
    if model.dtype == torch.float32:
        return "all weights are, so float32 is too narrow for what is computed from them: choose another checkpoint"
    return f"all weights are, so {_name(model.dtype)} is too narrow for what is computed from them: {WIDER}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
