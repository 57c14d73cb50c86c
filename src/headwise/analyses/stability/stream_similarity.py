"""How similar the residual streams of refits are, layer by layer."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from headwise.analyses.stability.cka import cka
from headwise.analyses.stability.group_rows import StreamSimilarity
from headwise.analyses.stability.names import SITES, TRAINED, TakenFrom, Weights
from headwise.analyses.stability.residual import read_prompt, residual_streams
from headwise.runtime.progress import track
from headwise.statistics.arrays import FloatArray
from headwise.study.prompts import EncodedPrompt

# By weights, layer and site the stream of each refit: (tokens, hidden).
RefitStreams = dict[tuple[Weights, int, TakenFrom], list[FloatArray]]


def spread_over(prompts: Sequence[EncodedPrompt], most: int | None) -> list[EncodedPrompt]:
    """As many prompts as hold at most so many tokens, evenly spread over all; at least one."""
    for count in range(len(prompts), 1, -1):
        chosen = [prompts[place] for place in np.linspace(0, len(prompts) - 1, count).round().astype(int)]
        if most is None or sum(len(prompt.token_ids) for prompt in chosen) <= most:
            return chosen
    return [prompts[0]]


@torch.inference_mode()
def read_streams(
    model: PreTrainedModel,
    prompts: Sequence[EncodedPrompt],
    most: int | None,
    weights: Weights,
    streams: RefitStreams,
) -> None:
    """Append the residual stream of a model on a selection of prompts: (tokens, hidden) for each layer and site."""
    chosen = spread_over(prompts, most)
    parts: dict[tuple[int, TakenFrom], list[FloatArray]] = {}
    with residual_streams(model) as current:
        for prompt in track(chosen, "residual stream", len(chosen)):
            read_prompt(model, prompt)
            for key, stream in current.items():
                parts.setdefault(key, []).append(stream.numpy())
    for (layer, site), values in parts.items():
        streams.setdefault((weights, layer, site), []).append(np.concatenate(values))


def compare_streams(streams: RefitStreams) -> Iterator[StreamSimilarity]:
    """The similarity of all pairs of refits, of one kind of weights, at every layer and site."""
    order = sorted(streams, key=lambda key: (key[0] != TRAINED, key[1], SITES.index(key[2])))
    for weights, layer, site in track(order, "similarity of residual streams", len(order)):
        refits = streams[weights, layer, site]
        for kernel, values in cka(refits).items():
            for one, two in zip(*np.triu_indices(len(refits), 1), strict=True):
                yield StreamSimilarity(
                    weights=weights,
                    layer=layer,
                    site=site,
                    kernel=kernel,
                    refit=int(one),
                    other=int(two),
                    value=float(values[one, two]),
                    tokens=len(refits[0]),
                )
