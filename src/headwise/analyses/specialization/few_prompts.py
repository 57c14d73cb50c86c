"""The estimators of a model on a handful of prompts, at once and without files: for models that change from one
measurement to the next."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from transformers import PreTrainedModel

from headwise.analyses.specialization.measured import Measured, defined_mean
from headwise.analyses.specialization.registry import estimator
from headwise.attention.capture import LayerAttention, capturing
from headwise.attention.layer_statistics import statistics_of
from headwise.attention.pair_statistics import PAIR_STATISTICS
from headwise.attention.sinks import Sink
from headwise.models.finite import NotFiniteError
from headwise.models.load import input_device
from headwise.statistics.result import finite_or_none
from headwise.study.prompts import EncodedPrompt

SINK: Sink = "kept"
# A number, or None with the reason.
Value = tuple[float | None, str | None]


@dataclass(frozen=True)
class _Attention:
    """What attention was on each prompt: statistics by (prompt, layer), in the order of computation."""

    heads: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    pairs: list[dict[str, np.ndarray]] = field(default_factory=list)
    layers: list[int] = field(default_factory=list)


def specialization_of(
    model: PreTrainedModel,
    prompts: Sequence[EncodedPrompt],
    estimators: Sequence[str],
    under: Callable[[EncodedPrompt], AbstractContextManager[None]] = lambda prompt: nullcontext(),
) -> dict[str, Value]:
    """Value of each estimator on the prompts, and why there is none; the first key kept.

    The same statistics and summaries as a study's, for a handful of prompts and without files. `under` gives what the
    model computes under on each prompt. Raises NotFiniteError where attention is not finite.
    """
    measured = measure(model, prompts, [name for name in PAIR_STATISTICS if name in estimators], under)
    values: dict[str, Value] = {}
    for each in map(estimator, estimators):
        impossible = each.undefined_because(measured.heads, len(measured.layers))
        if impossible is not None:
            values[each.name] = None, impossible
            continue
        value = finite_or_none(float(each.summary(defined_mean(each.features(measured, SINK), axis=0))))
        values[each.name] = value, None if value is not None else each.undefined
    return values


@torch.inference_mode()
def measure(
    model: PreTrainedModel,
    prompts: Sequence[EncodedPrompt],
    statistics: Sequence[str],
    under: Callable[[EncodedPrompt], AbstractContextManager[None]] = lambda prompt: nullcontext(),
) -> Measured:
    """Statistics of the attention of a model on prompts, one forward pass each, the first key kept."""
    body = cast(PreTrainedModel, model.base_model)
    found = _Attention()
    prompt = prompts[0]

    def receive(attention: LayerAttention) -> None:
        if not (attention.weights.sum() + attention.head_outputs.float().sum()).isfinite():
            raise NotFiniteError(f"attention of layer {attention.layer} is not finite on '{prompt.id}'")
        reduced = statistics_of(attention, statistics)
        of_heads = reduced.heads[SINK]
        found.heads.append((of_heads.row_entropy_nats.cpu().numpy(), of_heads.received.cpu().numpy()))
        found.pairs.append({name: values.cpu().numpy() for name, values in reduced.pairs[SINK].items()})
        found.layers.append(attention.layer)

    with capturing(body, receive) as layers:
        for prompt in prompts:
            with under(prompt):
                body(input_ids=torch.tensor([prompt.token_ids], device=input_device(body)), use_cache=False)
    count = len(layers)
    per_prompt = [found.heads[start : start + count] for start in range(0, len(found.heads), count)]
    return Measured(
        source=model.config.model_type,
        prompts=tuple(prompt.id for prompt in prompts),
        tokens=np.array([len(prompt.token_ids) for prompt in prompts], dtype=np.int32),
        layers=np.array(found.layers[:count], dtype=np.int16),
        heads=len(found.heads[0][0]),
        row_entropy_nats={SINK: tuple(np.stack([entropy for entropy, _ in each]) for each in per_prompt)},
        received={SINK: tuple(np.stack([received for _, received in each]) for each in per_prompt)},
        pairs={
            name: {SINK: np.stack([layer[name] for layer in found.pairs]).reshape(len(prompts), count, -1)}
            for name in found.pairs[0]
        },
        metadata={},
    )
