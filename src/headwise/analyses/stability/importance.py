"""What the heads of a refit matter for: held-out text, or the prompts, without each of them."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.analyses.stability.ablation import (
    Batch,
    ablatable_layers,
    ablated_losses,
    mean_outputs,
    value_biases,
)
from headwise.analyses.stability.group_rows import HeadImportance, ModelLoss
from headwise.analyses.stability.names import HELD_OUT, Part, Replacement
from headwise.analyses.stability.settings import Stability
from headwise.models.excerpts import EVALUATED_EXCERPTS, held_out_excerpts
from headwise.models.resources import TEXTS_AT_ONCE
from headwise.statistics.result import finite_or_none
from headwise.study.extraction import FirstToken
from headwise.study.prompts import EncodedPrompt


def held_out_text(
    documents: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    first_token: FirstToken,
    settings: Stability,
) -> Batch:
    """Excerpts of held-out text, evenly spread; no longer than the model has positions for."""
    inputs, targets = held_out_excerpts(
        documents, model, tokenizer, first_token, settings.ablation_tokens, EVALUATED_EXCERPTS, shorten=True
    )
    chosen = torch.linspace(0, len(inputs) - 1, min(settings.ablation_excerpts, len(inputs))).round().long()
    return inputs[chosen], targets[chosen]


def by_length(prompts: Sequence[EncodedPrompt]) -> list[Batch]:
    """Prompts as inputs and targets, those of one length together; a prompt of one token predicts nothing."""
    by_length: dict[int, list[list[int]]] = {}
    for prompt in prompts:
        if len(prompt.token_ids) > 1:
            by_length.setdefault(len(prompt.token_ids), []).append(prompt.token_ids)
    return [
        (part[:, :-1], part[:, 1:]) for ids in by_length.values() for part in torch.tensor(ids).split(TEXTS_AT_ONCE)
    ]


def head_importance(
    model: PreTrainedModel, batches: Sequence[Batch], text: Part, refit: int
) -> tuple[list[ModelLoss], list[HeadImportance]]:
    """The loss on a text, and what each head's ablation costs: zero and mean on held-out text, on prompts as published.

    Both are empty without text.
    """
    found: tuple[list[ModelLoss], list[HeadImportance]] = ([], [])
    if not batches:
        return found
    sizes = torch.tensor([len(row) for _, targets in batches for row in targets], dtype=torch.float64)
    weights = sizes / sizes.sum()
    layers = [layer.index for layer in ablatable_layers(model)]
    replacements = (
        {Replacement.ZERO: None, Replacement.MEAN: mean_outputs(model, [inputs for inputs, _ in batches])}
        if text == HELD_OUT
        else {Replacement.VALUE_BIAS: value_biases(model)}
    )
    for number, (replacement, values) in enumerate(replacements.items()):
        without, whole = ablated_losses(model, batches, values)
        loss, losses = float(whole @ weights), without @ weights
        if number == 0:
            found[0].append(ModelLoss(refit=refit, text=text, loss_nats=loss, tokens=int(sizes.sum())))
        for place, head in np.ndindex(*losses.shape):
            without_head = float(losses[place, head])
            found[1].append(
                HeadImportance(
                    refit=refit,
                    layer=layers[place],
                    head=head,
                    text=text,
                    replacement=replacement,
                    delta_perplexity=finite_or_none(_perplexity(without_head) - _perplexity(loss)),
                    delta_loss_nats=without_head - loss,
                )
            )
    return found


def _perplexity(loss: float) -> float:
    """Of a loss in nats per token; infinite where no number is large enough."""
    return math.exp(loss) if loss < math.log(sys.float_info.max) else math.inf
