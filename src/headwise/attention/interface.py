"""Attention weights of a model that calls attention through the attention interface of transformers.

transformers lets a model call an attention function by name. The function registered here delegates to the
model's own eager attention, takes the weights and returns the output without them.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

# A name that contains "flash" would be taken for a kernel without masks.
ATTENTION_NAME = "headwise_exact"

EagerAttention = Callable[..., tuple[Tensor, Tensor]]
# Receives the module, the heads' outputs (1, T, heads, head width) and the weights (1, heads, T, T).
TakeAttention = Callable[[nn.Module, Tensor, Tensor, bool], None]


@contextmanager
def intercepting(model: PreTrainedModel, modules: Iterable[nn.Module], take: TakeAttention) -> Iterator[None]:
    """Within the block, `take` receives what the eager attention of `modules` computes, and whether it is declared
    causal; the weights go no further. The model's attention implementation is as before once the block ends.
    """
    before = _implementation(model)
    captured = list(modules)
    eager = {module_class: eager_attention(module_class) for module_class in set(map(type, captured))}
    for module in captured:
        _TAKERS[module] = eager[type(module)], take
    model.set_attn_implementation(ATTENTION_NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
        for module in captured:
            del _TAKERS[module]


@cache
def eager_attention(module_class: type[nn.Module]) -> EagerAttention | None:
    """The eager function that a module class hands to the attention interface; None if it uses none."""
    forward = inspect.unwrap(module_class.forward)
    try:
        source = inspect.getsource(forward)
    except (OSError, TypeError):  # compiled, or typed into a terminal
        return None
    call = re.search(r"\.get_interface\(\s*[\w.]+,\s*(\w+)", source)
    return forward.__globals__.get(call[1]) if call else None


# How a module attends and who takes it: the registered function is global, captures are not.
_TAKERS: WeakKeyDictionary[nn.Module, tuple[EagerAttention | None, TakeAttention]] = WeakKeyDictionary()


def _attend(module: nn.Module, *inputs: Any, **options: Any) -> tuple[Tensor, None]:
    """The registered attention function: the module's own eager attention, with the weights taken out."""
    eager, take = _TAKERS[module]
    if getattr(module, "reorder_and_upcast_attn", False):
        # GPT-2's second eager path, which its module takes without the interface.
        output, weights = module._upcast_and_reordered_attn(*inputs)  # type: ignore[operator]
    else:
        assert eager is not None, "only modules that call the interface get here"
        output, weights = eager(module, *inputs, **options)
    # The rule by which scaled_dot_product_attention decides.
    declared = options.get("is_causal")
    causal = getattr(module, "is_causal", True) if declared is None else declared
    take(module, output, weights, bool(causal))
    return output, None


AttentionInterface.register(ATTENTION_NAME, _attend)
# Without a mask function under the same name a model gets no mask at all.
AttentionMaskInterface.register(ATTENTION_NAME, eager_mask)


def _implementation(model: PreTrainedModel) -> dict[str, str]:
    """The attention implementation of a model and of its parts that have a configuration of their own."""
    parts = {name: getattr(model.config, name) for name in model.config.sub_configs}
    return {
        "": model.config._attn_implementation,
        **{name: part._attn_implementation for name, part in parts.items() if part is not None},
    }
