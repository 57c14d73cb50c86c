"""Train a small decoder from scratch on the corpus of a study."""

import math
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import PreTrainedModel

from headwise.models.corpus import Split
from headwise.models.excerpts import (
    evaluate,
    excerpt_loss,
    spread_excerpts,
    take_excerpts,
    token_stream,
    unigram_entropy,
)
from headwise.models.optimization import TrainingError, adam, adamw, descend, learning_rate_at, one_thread
from headwise.models.save import save_checkpoint
from headwise.models.tokenizer import load_tokenizer
from headwise.models.zoo import build_decoder
from headwise.runtime.parquet import write_table
from headwise.runtime.progress import track
from headwise.study.training import Decoder, Training


@one_thread()
def train_model(
    documents: Path,
    tokenizer: Path,
    decoder: Decoder,
    training: Training,
    seed: int,
    checkpoint: Path,
    curve: Path,
    metadata: Mapping[str, Any],
) -> None:
    """Train one decoder; `seed` sets its initial weights and the order of the data.

    Each step descends on the mean cross-entropy per token of random excerpts of the train split. `checkpoint`
    receives a folder in the layout of transformers with `facts.json`; `curve` a table with the columns step
    (number of updates made), split, loss_nats (mean per token; of the batch that the next update sees, or of
    fixed held-out excerpts) and learning_rate. Two runs with the same arguments on one machine give the same bytes.

    Raises CorpusError where the text is shorter than an excerpt, TrainingError where excerpts are longer than
    the decoder's positions or where the loss is not finite.

    With `training.until_loss` it stops at the first evaluation where the loss on excerpts of the validation split is as
    low; the facts say how many steps were made and whether the loss was reached, and the curve has the split
    "validation". The schedule of the learning rate stays that of all steps. The checkpoint holds a folder `stepN`, a
    checkpoint like itself, for each step of `training.checkpoints` that was reached.
    """
    if training.tokens > decoder.positions:
        raise TrainingError(
            f"training.tokens {training.tokens} is more than decoder.positions {decoder.positions}: "
            "shorten the excerpts or raise the positions"
        )
    encoder = load_tokenizer(tokenizer)
    first, tokens = [encoder.bos_token_id], training.tokens
    train = token_stream(documents, encoder, "train", tokens)
    splits: tuple[Split, ...] = ("held_out",) if training.until_loss is None else ("held_out", "validation")
    evaluated = {
        split: spread_excerpts(token_stream(documents, encoder, split, tokens), tokens, first) for split in splits
    }
    model = build_decoder(decoder, encoder, seed).train().to(training.device)
    if training.optimizer == "adam":
        optimizer: torch.optim.Optimizer = adam(model, training.second_moment)
    else:
        optimizer = adamw(model, training.weight_decay, training.decayed, training.second_moment)
    data_order = torch.Generator().manual_seed(seed)

    rows: list[tuple[int, str, float, float]] = []
    stages: dict[int, PreTrainedModel] = {}
    for step in track(range(training.steps + 1), "training", training.steps + 1):
        learning_rate = learning_rate_at(
            step, training.steps, training.warmup, training.learning_rate, training.schedule
        )
        if step in training.checkpoints:
            stages[step] = deepcopy(model)
        losses: dict[str, float] = {}
        if step % training.evaluate_every == 0 or step == training.steps:
            losses = {split: evaluate(model, excerpts) for split, excerpts in evaluated.items()}
            rows += [(step, split, loss, learning_rate) for split, loss in losses.items()]
        reached = training.until_loss is not None and losses.get("validation", math.inf) <= training.until_loss
        if reached or step == training.steps:
            break
        starts = torch.randint(len(train) - tokens + 1, (training.batch,), generator=data_order)
        loss = excerpt_loss(model, *take_excerpts(train, starts, tokens, first))
        rows.append((step, "train", loss.item(), learning_rate))
        descend(model, optimizer, loss, learning_rate, step, training.gradient_norm)

    matched = {} if training.until_loss is None else {"validation_loss_nats": losses["validation"], "reached": reached}
    facts = {
        "training": {
            **training.model_dump(),
            "steps": step,
            "held_out_loss_nats": losses["held_out"],
            **matched,
            "unigram_entropy_nats": unigram_entropy(train, evaluated["held_out"][1], len(encoder)),
            "held_out_tokens": evaluated["held_out"][1].numel(),
        }
    }
    digests = save_checkpoint(model, tokenizer, documents, checkpoint, metadata, facts, stages)
    table = pd.DataFrame(rows, columns=["step", "split", "loss_nats", "learning_rate"])
    write_table(table, curve, {**metadata, **digests})
