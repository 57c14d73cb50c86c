"""What the heads of a refit matter for: held-out text, or the prompts, without each of them."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.analyses.stability.ablation import (
    Batch,
    ablatable_layers,
    ablated_token_losses,
    mean_outputs,
    means_of_texts,
    value_biases,
)
from headwise.analyses.stability.functions import Texts, profiles
from headwise.analyses.stability.group_rows import HeadImportance, ModelLoss
from headwise.analyses.stability.names import HELD_OUT, Replacement, TakenFrom
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


@dataclass(frozen=True)
class Ablated:
    """What the ablation of heads says about one refit on a text.

    profiles  by layer, of each text (tokens, heads, 1): what each head's zero ablation costs at each token, nats; none
              where zero ablation was not measured
    """

    losses: list[ModelLoss] = field(default_factory=list)
    importance: list[HeadImportance] = field(default_factory=list)
    profiles: dict[int, Texts] = field(default_factory=dict)


def head_importance(model: PreTrainedModel, batches: Sequence[Batch], text: TakenFrom, refit: int) -> Ablated:
    """The loss on a text, and what each head's ablation costs: zero and mean on held-out text, on prompts as published.

    Nothing without text.
    """
    found = Ablated()
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
        each = [ablated_token_losses(model, batch, values) for batch in batches]
        if replacement == Replacement.ZERO:
            found.profiles.update(profiles(layers, [without - whole for without, whole in each]))
        without, whole = means_of_texts(each)
        loss, losses = float(whole @ weights), without @ weights
        if number == 0:
            found.losses.append(ModelLoss(refit=refit, text=text, loss_nats=loss, tokens=int(sizes.sum())))
        for place, head in np.ndindex(*losses.shape):
            without_head = float(losses[place, head])
            found.importance.append(
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
