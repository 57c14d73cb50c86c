"""Attention of one layer in tiles of query rows: the heads' outputs, and the weights a tile at a time.

Rows of attention do not depend on one another. So the model's own eager attention can be asked for a few rows at a
time, and for the keys that these rows may look at alone: scores, softmax, caps and learned sinks are then the model's
own, whatever they are, and no more than a tile of weights is alive. Where that eager attention is no more than
softmax(scale q k^T + mask) v, which a small example tells, the same is computed here in memory that is used again at
every tile, in less time.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from headwise.attention.interface import AttentionCall
from headwise.attention.row_tiles import rows_at_once
from headwise.attention.scratch import Scratch, ahead

# plain: softmax(scale q k^T + mask) v. own: the model's own eager attention. Either in tiles.
Kind = Literal["plain", "own"]
# Receives the position of a tile's first row, and its weights (heads, rows, keys), overwritten afterwards.
TakeTile = Callable[[int, Tensor], None]
# Tokens of the example that tells whether attention is plain.
EXAMPLE_TOKENS = 5
# Rows of a tile on the CPU at most: keys that its last rows may look at and its first may not are worked on in vain.
MOST_ROWS = 128
# So many keys can be read across wherever they lie; more are too far apart in memory.
KEYS_READ_ACROSS = 256


def can_tile(call: AttentionCall) -> bool:
    """Whether rows can be taken apart: beside the mask, nothing that the call carries has queries and keys, as a bias
    by position would have; GPT-2's second path is not tried."""
    return not call.upcast and not any(
        isinstance(option, Tensor) and option.ndim > 2 for option in call.options.values()
    )


def attend_at_once(call: AttentionCall) -> tuple[Tensor, Tensor]:
    """The heads' outputs (1, T, heads, head width), and all weights (1, heads, T, T)."""
    seen, mask = _visible(call, slice(0, call.query.shape[2]), Scratch())
    return replace(call, mask=_of_all_keys(mask, seen)).eagerly()


def sees_nothing(call: AttentionCall) -> bool:
    """Whether the mask hides all keys from a query, which then looks everywhere alike under eager attention."""
    mask = _of_rows(call, slice(0, call.key.shape[2]))
    return mask is not None and not bool(_seen(mask).any(-1).all())


def attend_in_tiles(call: AttentionCall, kind: Kind, take: TakeTile, scratch: Scratch) -> Tensor:
    """The heads' outputs (1, T, heads, head width); `take` receives the weights on the way, rows in order."""
    call = _ungrouped(call)
    _, heads, tokens, _ = call.query.shape
    output = call.query.new_empty(1, tokens, heads, call.value.shape[-1])
    if kind == "plain":
        scaled, keys, values = _side_by_side(call, scratch)
    at_once = rows_at_once(heads, tokens, output.device)
    if output.device.type == "cpu":
        at_once = min(at_once, MOST_ROWS)
    for first in range(0, tokens, at_once):
        rows = slice(first, min(first + at_once, tokens))
        seen, mask = _visible(call, rows, scratch, coarse=kind == "own")
        if kind == "plain":
            weights = _plain(scaled[:, rows], keys[..., :seen], mask, scratch)
            # By way of memory without gaps: multiplied right into the output, it takes twice as long.
            written = scratch.tensor("written", (heads, rows.stop - first, output.shape[-1]), weights)
            torch.bmm(weights, values[:, :seen], out=written)
            output[0, rows] = written.transpose(0, 1)
        else:
            output[:, rows], whole = call.eager(  # type: ignore[misc]  # only modules that call the interface get here
                call.module,
                call.query[:, :, rows],
                call.key[:, :, :seen],
                call.value[:, :, :seen],
                _of_all_keys(mask, seen),
                **call.options,
            )
            weights = whole[0]
        take(first, weights)
    return output


def kind_of(call: AttentionCall) -> Kind:
    """Whether the eager attention of a module is plain, told on a small example with this call's options.

    Large scores tell a cap, rows that do not sum to 1 a learned sink. In half precision, attention is the model's own
    always: where it rounds differs from model to model.
    """
    if call.query.dtype != torch.float32:
        return "own"
    call = _ungrouped(call)
    heads, width, value_width = call.query.shape[1], call.query.shape[-1], call.value.shape[-1]

    def example(salt: float, width: int) -> Tensor:
        values = torch.arange(heads * EXAMPLE_TOKENS * width, device=call.query.device, dtype=torch.float32)
        return (values * salt).sin().view(1, heads, EXAMPLE_TOKENS, width)

    query, key, value = 5 * example(0.7, width), 5 * example(1.3, width), example(2.1, value_width)
    small = replace(call, query=query, key=key, value=value, mask=None, causal=True)
    _, mask = _visible(small, slice(0, EXAMPLE_TOKENS), Scratch())
    assert call.eager is not None, "only modules that call the interface get here"
    output, weights = call.eager(call.module, query, key, value, mask, **call.options)
    plain = _plain(query[0] * _scale(call), key[0].mT, mask, Scratch())
    same = torch.allclose(weights[0], plain, rtol=1e-4, atol=1e-6)
    return "plain" if same and torch.allclose(output[0], (plain @ value[0]).transpose(0, 1), atol=1e-4) else "own"


def _side_by_side(call: AttentionCall, scratch: Scratch) -> tuple[Tensor, Tensor, Tensor]:
    """Queries times the scale (heads, T, width), keys (heads, width, T), values (heads, T, width); of long prompts each
    head's side by side in memory: where heads lie in one another's gaps, products take half as long again."""
    query, key, value = call.query[0], call.key[0], call.value[0]
    if key.shape[1] < KEYS_READ_ACROSS:
        return query * _scale(call), key.mT, value
    scaled = torch.mul(query, _scale(call), out=scratch.tensor("queries", query.shape, query))
    values = scratch.tensor("values", value.shape, value).copy_(value)
    keys = scratch.tensor("keys", key.mT.shape, key)
    for across, some in zip(keys.split(KEYS_READ_ACROSS, 2), key.split(KEYS_READ_ACROSS, 1), strict=True):
        across.copy_(some.mT)
    return scaled, keys, values


def _plain(scaled: Tensor, keys: Tensor, mask: Tensor | None, scratch: Scratch) -> Tensor:
    """Softmax over keys, float32 (heads, rows, keys), from queries times the scale (heads, rows, width) and keys
    (heads, width, keys); mask: see `_visible`."""
    shape = (scaled.shape[0], scaled.shape[1], keys.shape[2])
    scores = torch.bmm(scaled, keys, out=scratch.tensor("working", shape, scaled))
    if mask is not None:
        scores[..., shape[2] - mask.shape[-1] :] += mask[0]
    return torch.softmax(scores, -1, out=scratch.tensor("weights", shape, scaled))


def _visible(call: AttentionCall, rows: slice, scratch: Scratch, coarse: bool = False) -> tuple[int, Tensor | None]:
    """How many keys these rows may look at, from key 0 on, and what is to be added to the scores of the last of these.

    The latter is (1, heads or 1, rows, keys), of the last keys alone where all before are seen; None where nothing is
    hidden. coarse: up to a quarter more keys, hidden like others, so that few numbers of keys occur: memory that is
    freed is used again by what is no larger, and a little more each time would need new memory every time.
    """
    tokens, mask = call.key.shape[2], _of_rows(call, rows)

    def rounded(keys: int) -> int:
        step = 2 ** max(0, keys.bit_length() - 3) if coarse else 1
        return min(tokens, -(-keys // step) * step)

    if mask is None:
        if not call.causal:
            return tokens, None
        seen = rounded(rows.stop)
        hidden = scratch.table("ahead", seen - rows.start, call.query, ahead)
        return seen, hidden[None, None, : rows.stop - rows.start]
    seen = rounded(_last(_seen(mask), rows.stop))
    mask = mask[..., :seen]
    if mask.dtype != torch.bool:
        return seen, mask
    added = torch.zeros_like(mask, dtype=call.query.dtype)
    return seen, added.masked_fill_(~mask, torch.finfo(added.dtype).min)


def _of_rows(call: AttentionCall, rows: slice) -> Tensor | None:
    """The mask of these rows, (1, heads or 1, rows, keys); a call has it in any shape that scores can be added to."""
    if call.mask is None:
        return None
    tokens = call.key.shape[2]
    mask = call.mask[(None,) * (4 - call.mask.ndim)][..., :tokens]
    return mask.expand(*mask.shape[:2], tokens, tokens)[:, :, rows]


def _seen(mask: Tensor) -> Tensor:
    """Where a mask, additive or true, lets a query look."""
    return mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2


def _last(visible: Tensor, least: int) -> int:
    """The number of keys up to the last one that any row may look at, and `least`, the rows' own, in any case.

    All where a row may look at none: eager attention hides keys with a number so low that scores vanish beside it, and
    where it hides them all the row looks everywhere alike.
    """
    if not visible.any(-1).all():
        return visible.shape[-1]
    return max(least, int(visible.flatten(0, -2).any(0).nonzero()[-1]) + 1)


def _of_all_keys(mask: Tensor | None, keys: int) -> Tensor | None:
    """A mask of the last keys as eager attention reads it: of that many keys."""
    return None if mask is None else nn.functional.pad(mask, (keys - mask.shape[-1], 0))


def _scale(call: AttentionCall) -> float:
    scaling = call.options.get("scaling")
    return float(call.query.shape[-1] ** -0.5 if scaling is None else scaling)


def _ungrouped(call: AttentionCall) -> AttentionCall:
    """The same call with keys and values of every head, which eager attention would repeat again for every tile."""
    groups = call.query.shape[1] // call.key.shape[1]
    if groups == 1:
        return call
    key, value = (each.repeat_interleave(groups, dim=1) for each in (call.key, call.value))
    return replace(call, module=cast(nn.Module, _Ungrouped(call.module)), key=key, value=value)


class _Ungrouped:
    """A module as its eager attention sees it, with as many heads of keys as of queries."""

    num_key_value_groups = 1

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
