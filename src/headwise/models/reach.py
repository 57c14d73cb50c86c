"""How far the queries of each layer may look, as the masks say that a model makes for it.

Nothing is decided by a model's name or by what its configuration calls a window. A model without memory, on torch's
meta device, runs on a few tokens. Its masks are functions of positions: asked for one, we ask it about positions that
lie further apart than any window, and see to which layers it goes.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel
from transformers.masking_utils import sdpa_mask

NAME = "headwise_reach"
PROBE_TOKENS = 8
# Masks are asked for so many positions at least, and for twice as many as the widest window.
FEWEST_POSITIONS = 64
# Wider ones are not asked for: each row of a mask would take as many bytes.
WIDEST_WINDOW = 2**22
# Names of fields that hold a window. Doge keeps so many keys, wherever they are.
WINDOW_NAMES = re.compile(r"(?<!keep_)window|attention_chunk|local_attention")


def reach_by_layer(model: PreTrainedModel) -> dict[int, int | None] | None:
    """Per attention layer, the most tokens that a query may look at in one direction, itself included; None where all.

    model: of one stack, on the meta device. None where its masks do not tell: where it makes them outside of the
    interface of transformers, or computes with what they hold.
    """
    windows = possible_windows(model.config) or [1]
    if max(windows) > WIDEST_WINDOW:
        return None
    positions = max(FEWEST_POSITIONS, 2 * max(windows) + 2)
    # Where a window or a chunk ends, and both ends of the prompt.
    rows = sorted({0, positions - 1, *(row for window in windows for row in (window - 1, window, 2 * window - 1))})
    masks: list[tuple[nn.Module, Tensor | None]] = []

    def make_mask(*_: Any, mask_function: Callable[..., Any], use_vmap: bool = False, **__: Any) -> Tensor:
        of_one_row = [
            sdpa_mask(1, 1, positions, row, mask_function=mask_function, use_vmap=use_vmap, allow_is_causal_skip=False)
            for row in rows
        ]
        return torch.cat([mask for mask in of_one_row if mask is not None], 2)

    def attend(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **__: Any
    ) -> tuple[Tensor, None]:
        masks.append((module, attention_mask))
        batch, heads, tokens, _ = query.shape
        return value.new_empty(batch, tokens, heads, value.shape[-1]), None

    with _attending_as(model, attend, make_mask), _EverythingIsTrue(), torch.no_grad():
        tokens = torch.ones(1, PROBE_TOKENS, dtype=torch.long, device="meta")
        try:
            model.base_model(input_ids=tokens, attention_mask=tokens, use_cache=False)
        except Exception:  # what a model's own code raises where it needs values
            return None
    if not all(mask is None or mask.shape[-2:] == (len(rows), positions) for _, mask in masks):
        return None
    reach: dict[int, int | None] = {}
    for number, (module, mask) in enumerate(masks):
        own_count = getattr(module, "layer_idx", None)
        layer = own_count if isinstance(own_count, int) else number
        wide = positions if mask is None else _reach(mask, torch.tensor(rows))
        before = reach.get(layer, 0)
        reach[layer] = None if wide >= positions or before is None else max(before, wide)
    return reach or None


def possible_windows(config: PreTrainedConfig) -> list[int]:
    """Numbers of tokens in the configuration that may be windows."""
    values: list[Any] = []
    for name, value in config.to_dict().items():
        if WINDOW_NAMES.search(name):
            values += value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return [value for value in values if type(value) is int and value > 0]


def _reach(mask: Tensor, rows: Tensor) -> int:
    """The most keys in one direction that any of these rows may look at, its own included: of a mask (1, heads or 1,
    rows, keys), additive or true."""
    visible = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
    distance = (rows[:, None] - torch.arange(mask.shape[-1])).abs()
    return int(distance[visible.any(1)[0]].max()) + 1 if visible.any() else 0


@contextmanager
def _attending_as(
    model: PreTrainedModel, attend: Callable[..., Any], make_mask: Callable[..., Tensor]
) -> Iterator[None]:
    """Within the block, these functions make the attention and the masks that a model asks transformers for."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, make_mask)
    configs = (getattr(module, "config", None) for module in model.modules())
    of_model = {id(config): config for config in configs if isinstance(config, PreTrainedConfig)}
    before = {key: (config._attn_implementation, config._experts_implementation) for key, config in of_model.items()}
    try:
        for config in of_model.values():
            config._attn_implementation_internal = NAME
            config._experts_implementation_internal = "batched_mm"  # the others need to know who chose which expert
        yield
    finally:
        for key, config in of_model.items():
            config._attn_implementation_internal, config._experts_implementation_internal = before[key]
        AttentionInterface._global_mapping.pop(NAME)
        AttentionMaskInterface._global_mapping.pop(NAME)


class _EverythingIsTrue(TorchDispatchMode):
    """Tensors without memory are true: models ask whether all tokens are real, and positions those of one prompt."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return True
        return func(*args, **(kwargs or {}))
