"""Standing in for the attention of a model that calls attention through the attention interface of transformers.

transformers lets a model call an attention function by name. The functions registered here hand each call on to
whoever captures the module, who computes the heads' outputs and keeps the weights to himself.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask, sdpa_mask

# Names of ways of capture, which decide how a model makes its masks. A name that contains "flash" would be taken for a
# kernel without masks.
EXACT = "headwise_exact"  # additive masks of all queries and keys, as eager attention reads them
TILED = "headwise_tiled"  # none where attention is plainly causal or sees everything, else true where it may look

EagerAttention = Callable[..., tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class AttentionCall:
    """A call of attention by a module.

    eager: the module's eager attention; None where it has a second one of its own. query: (1, heads, T, width); key,
    value: (1, key-value heads, T, width). mask: as the way of capture asks for. options: keywords of eager attention.
    causal: whether attention is declared causal.
    """

    module: nn.Module
    eager: EagerAttention | None
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    options: dict[str, Any]
    causal: bool

    @property
    def upcast(self) -> bool:
        """Whether this is GPT-2's second eager path, which its module takes without the interface."""
        return bool(getattr(self.module, "reorder_and_upcast_attn", False))

    def eagerly(self) -> tuple[Tensor, Tensor]:
        """The module's own eager attention: heads' outputs (1, T, heads, head width), weights (1, heads, T, T)."""
        if self.upcast:
            return self.module._upcast_and_reordered_attn(self.query, self.key, self.value, self.mask)  # type: ignore[operator]  # a method, by its name
        assert self.eager is not None, "only modules that call the interface get here"
        return self.eager(self.module, self.query, self.key, self.value, self.mask, **self.options)


# Gives the heads' outputs (1, T, heads, head width).
Attend = Callable[[AttentionCall], Tensor]


@contextmanager
def intercepting(
    model: PreTrainedModel, modules: Iterable[nn.Module], attend: Attend, implementation: str
) -> Iterator[None]:
    """Within the block, `attend` computes the attention of `modules`, with masks as `implementation` has them. The
    model's attention implementation is as before once the block ends.
    """
    before = _implementation(model)
    captured = list(modules)
    for module in captured:
        _ATTEND[module] = attend
    model.set_attn_implementation(implementation)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
        for module in captured:
            del _ATTEND[module]


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


# Who computes the attention of a module: the registered functions are global, captures are not.
_ATTEND: WeakKeyDictionary[nn.Module, Attend] = WeakKeyDictionary()


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """The registered attention function."""
    # The rule by which scaled_dot_product_attention decides.
    declared = options.get("is_causal")
    causal = bool(getattr(module, "is_causal", True) if declared is None else declared)
    eager = eager_attention(type(module))  # type: ignore[arg-type]  # a class hashes
    return _ATTEND[module](AttentionCall(module, eager, query, key, value, attention_mask, options, causal)), None


# Without a mask function under the same name a model gets no mask at all.
for name, mask in ((EXACT, eager_mask), (TILED, sdpa_mask)):
    AttentionInterface.register(name, _attend)
    AttentionMaskInterface.register(name, mask)


def _implementation(model: PreTrainedModel) -> dict[str, str]:
    """The attention implementation of a model and of its parts that have a configuration of their own."""
    parts = {name: getattr(model.config, name) for name in model.config.sub_configs}
    return {
        "": model.config._attn_implementation,
        **{name: part._attn_implementation for name, part in parts.items() if part is not None},
    }
