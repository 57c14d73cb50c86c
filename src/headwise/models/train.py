"""Train a small decoder from scratch on the corpus of a study."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

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
    """
    if training.tokens > decoder.positions:
        raise TrainingError(
            f"training.tokens {training.tokens} is more than decoder.positions {decoder.positions}: "
            "shorten the excerpts or raise the positions"
        )
    encoder = load_tokenizer(tokenizer)
    first, tokens = [encoder.bos_token_id], training.tokens
    train, held_out = (token_stream(documents, encoder, split, tokens) for split in ("train", "held_out"))
    held_out_excerpts = spread_excerpts(held_out, tokens, first)
    model = build_decoder(decoder, encoder, seed).train().to(training.device)
    if training.optimizer == "adam":
        optimizer: torch.optim.Optimizer = adam(model, training.second_moment)
    else:
        optimizer = adamw(model, training.weight_decay, training.decayed, training.second_moment)
    data_order = torch.Generator().manual_seed(seed)

    rows: list[tuple[int, str, float, float]] = []
    for step in track(range(training.steps), "training", training.steps):
        learning_rate = learning_rate_at(
            step, training.steps, training.warmup, training.learning_rate, training.schedule
        )
        if step % training.evaluate_every == 0:
            rows.append((step, "held_out", evaluate(model, held_out_excerpts), learning_rate))
        starts = torch.randint(len(train) - tokens + 1, (training.batch,), generator=data_order)
        loss = excerpt_loss(model, *take_excerpts(train, starts, tokens, first))
        rows.append((step, "train", loss.item(), learning_rate))
        descend(model, optimizer, loss, learning_rate, step, training.gradient_norm)
    held_out_loss = evaluate(model, held_out_excerpts)
    rows.append((training.steps, "held_out", held_out_loss, 0.0))

    facts = {
        "training": {
            **training.model_dump(),
            "held_out_loss_nats": held_out_loss,
            "unigram_entropy_nats": unigram_entropy(train, held_out_excerpts[1], len(encoder)),
            "held_out_tokens": held_out_excerpts[1].numel(),
        }
    }
    digests = save_checkpoint(model, tokenizer, documents, checkpoint, metadata, facts)
    table = pd.DataFrame(rows, columns=["step", "split", "loss_nats", "learning_rate"])
    write_table(table, curve, {**metadata, **digests})
