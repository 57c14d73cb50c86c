"""Attention weights of a model whose attention modules compute attention themselves and return the weights.

These are the architectures of transformers that do not use its attention interface: GPT, GPT-Neo, GPT-J, CodeGen,
BLOOM, MPT, Falcon, XGLM and others. A forward hook takes the weights out of what the module returns.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

# Rows of bfloat16 weights sum to 1 within their rounding only.
LARGEST_ROW_SUM = 1.02

# Receives the module and the weights (1, heads, T, T); None where the module returns no such thing.
TakeWeights = Callable[[nn.Module, Tensor | None], None]


def computes_attention(module: nn.Module) -> bool:
    """Whether a module is, by its class name, an attention module with none inside: BERT nests one in another."""
    return _is_attention(module) and sum(map(_is_attention, module.modules())) == 1


@contextmanager
def taking_weights(model: PreTrainedModel, modules: Iterable[nn.Module], take: TakeWeights) -> Iterator[None]:
    """Within the block, `take` receives the weights that each of `modules` returns under eager attention; they go no
    further. The model's attention implementation is as before once the block ends.
    """

    def taken(module: nn.Module, _: Any, output: Any) -> Any:
        if not isinstance(output, tuple | list) or len(output) < 2 or not _are_weights(output[1]):
            take(module, None)
            return output
        take(module, output[1])
        return type(output)((output[0], None, *output[2:]))

    before = model.config._attn_implementation
    with ExitStack() as undo:
        for module in modules:
            undo.callback(module.register_forward_pre_hook(_ask_for_weights, with_kwargs=True).remove)
            undo.callback(module.register_forward_hook(taken).remove)
        # set_attn_implementation refuses these architectures, which read the configuration at every call.
        undo.callback(setattr, model.config, "_attn_implementation", before)
        model.config._attn_implementation = "eager"
        yield


def _ask_for_weights(module: nn.Module, inputs: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Some modules return weights on request only. Asked here, the model itself does not collect them."""
    return inputs, {**options, "output_attentions": True} if "output_attentions" in options else options


def _is_attention(module: nn.Module) -> bool:
    return "Attention" in type(module).__name__


def _are_weights(weights: Any) -> bool:
    """Whether this is a square matrix per head whose rows are distributions, or parts of one."""
    if not isinstance(weights, Tensor) or weights.ndim != 4 or weights.shape[-2] != weights.shape[-1]:
        return False
    # Asked so that NaN, which is reported as such elsewhere, passes.
    return not bool(weights.min() < 0 or (weights.sum(-1) > LARGEST_ROW_SUM).any())
