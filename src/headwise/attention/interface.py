"""Standing in for the attention of a model that calls attention through the attention interface of transformers.

transformers lets a model call an attention function by name. While a model is captured, the function that stands under
such a name here hands each call on to whoever captures the module, who computes the heads' outputs and keeps the
weights to himself. The names are those of transformers, since some models ask for them: DeepSeek-V3.2 hides the keys
that its indexer leaves out under these two alone.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from weakref import WeakKeyDictionary, WeakSet

from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel

# Names of ways of capture, which decide how a model makes its masks.
EXACT = "eager"  # additive masks of all queries and keys
TILED = "sdpa"  # none where attention is plainly causal or sees everything, else true where it may look

EagerAttention = Callable[..., tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class AttentionCall:
    """A call of attention by a module.

    eager: the module's eager attention; None where it has a second one of its own. query: (1, heads, T, width); key,
    value: (1, key-value heads, T, width). mask: as the way of capture asks for. options: keywords of eager attention.
    causal: whether attention is declared causal; None where the call does not say, and the layer does.
    """

    module: nn.Module
    eager: EagerAttention | None
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    options: dict[str, Any]
    causal: bool | None

    @property
    def upcast(self) -> bool:
        """Whether this is GPT-2's second eager path, which its module takes without the interface."""
        return self.module in _UPCAST

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
    captured = list(modules)
    configs = {id(config): config for config in (getattr(module, "config", None) for module in model.modules())}
    with ExitStack() as undo:
        for config in configs.values():
            if isinstance(config, PreTrainedConfig):
                # Not by its property, which changes parts that are configured apart as well.
                undo.callback(setattr, config, "_attn_implementation_internal", config._attn_implementation)
                config._attn_implementation_internal = implementation
        for module in captured:
            _ATTEND[module] = attend
            undo.callback(_ATTEND.pop, module)
            if getattr(module, "reorder_and_upcast_attn", False):
                # Else GPT-2 would take that path without calling the interface.
                _UPCAST.add(module)
                undo.callback(_UPCAST.discard, module)
                undo.callback(setattr, module, "reorder_and_upcast_attn", True)
                cast(Any, module).reorder_and_upcast_attn = False
        undo.enter_context(_standing_under(implementation))
        yield


@contextmanager
def _standing_under(implementation: str) -> Iterator[None]:
    """Within the block, `_attend` stands under a name of the attention interface, until the last such block ends."""
    if not _BLOCKS[implementation]:
        _BEFORE[implementation] = AttentionInterface._global_mapping.get(implementation)
        AttentionInterface.register(implementation, _attend)
    _BLOCKS[implementation] += 1
    try:
        yield
    finally:
        _BLOCKS[implementation] -= 1
        if not _BLOCKS[implementation]:
            before = _BEFORE.pop(implementation)
            AttentionInterface._global_mapping.pop(implementation)
            if before is not None:
                AttentionInterface.register(implementation, before)


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


# Who computes the attention of a module: names of the interface are global, captures are not.
_ATTEND: WeakKeyDictionary[nn.Module, Attend] = WeakKeyDictionary()
# Modules of GPT-2 that take its second eager path.
_UPCAST: WeakSet[nn.Module] = WeakSet()
# By name of the interface: in how many blocks `_attend` stands there, and what stood there before.
_BLOCKS: Counter[str] = Counter()
_BEFORE: dict[str, Callable[..., Any] | None] = {}


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Stands under the name of the model's attention implementation."""
    eager = eager_attention(type(module))  # type: ignore[arg-type]  # a class hashes
    if module not in _ATTEND:  # of a model that is not captured
        attention: Any = _BEFORE[cast(Any, module).config._attn_implementation] or eager
        output: tuple[Tensor, None] = attention(module, query, key, value, attention_mask, **options)
        return output
    call = AttentionCall(module, eager, query, key, value, attention_mask, options, options.get("is_causal"))
    return _ATTEND[module](call), None
