"""The mean output of each head on each prompt, from which the map of heads is drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow
import torch
from transformers import PreTrainedModel

from headwise.analyses.stability.ablation import ablatable_layers, reading_outputs
from headwise.analyses.stability.residual import read_prompt
from headwise.runtime.progress import track
from headwise.study.prompts import EncodedPrompt


@torch.inference_mode()
def outputs_on_prompts(model: PreTrainedModel, prompts: Sequence[EncodedPrompt], refit: int) -> pyarrow.Table:
    """The table of `outputs_table` of one refit."""
    means: list[np.ndarray[Any, Any]] = []
    current: dict[int, np.ndarray[Any, Any]] = {}

    def receive(place: int, outputs: torch.Tensor) -> None:
        current[place] = outputs[0].float().mean(0).cpu().numpy()

    with reading_outputs(model, receive):
        for prompt in track(prompts, "mean outputs of heads", len(prompts)):
            read_prompt(model, prompt)
            means.append(np.stack([current[place] for place in sorted(current)]))
    layers = [layer.index for layer in ablatable_layers(model)]
    return outputs_table(refit, layers, [prompt.id for prompt in prompts], means)


def outputs_table(
    refit: int, layers: Sequence[int], prompts: Sequence[str], means: Sequence[np.ndarray[Any, Any]]
) -> pyarrow.Table:
    """One row per prompt, layer and head, from (layers, heads, head width) for each prompt."""
    shape = (len(means), *(means[0].shape if means else (0, 0, 0)))
    prompt, layer, head = np.indices(shape[:3]).reshape(3, -1)
    values = np.stack(means).astype(np.float32).reshape(-1, shape[3]) if means else np.empty((0, 0), np.float32)
    return pyarrow.table(
        {
            "refit": pyarrow.array(np.full(len(values), refit), pyarrow.int64()),
            "prompt": pyarrow.array([prompts[place] for place in prompt], pyarrow.string()),
            "layer": pyarrow.array(np.asarray(layers, dtype=np.int64)[layer]),
            "head": pyarrow.array(head, pyarrow.int64()),
            "mean": pyarrow.array(list(values), pyarrow.list_(pyarrow.float32())),
        }
    )
