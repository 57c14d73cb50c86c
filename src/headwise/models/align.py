"""Aligned descendants of a base: supervised fine-tuning, direct preference optimisation; one factor each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import logsigmoid
from transformers import PreTrainedModel

from headwise.models.checkpoint import weights_digest
from headwise.models.corpus import read_documents
from headwise.models.excerpts import evaluate, spread_excerpts, texts_per_pass, token_stream
from headwise.models.load import load_checkpoint
from headwise.models.optimization import adamw, descend, learning_rate_at, one_thread
from headwise.models.pairs import (
    Pairs,
    pair_log_probabilities,
    preference_pairs,
    response_log_probabilities,
    swapped_by_coin,
)
from headwise.models.resources import RESPONSE_TOKENS
from headwise.models.save import save_checkpoint
from headwise.runtime.parquet import write_table
from headwise.runtime.progress import track
from headwise.study.training import Dpo, Sft

HELD_OUT_PAIRS = 256
# Length of the held-out excerpts that show what alignment costs as a language model.
CORPUS_TOKENS = 128
EVALUATION_BATCH = 64


@one_thread()
def align_model(
    base: Path,
    documents: Path,
    method: Literal["sft", "dpo"],
    settings: Sft | Dpo,
    seed: int,
    checkpoint: Path,
    curve: Path,
    metadata: Mapping[str, Any],
    placebo: bool = False,
    coin: int = 1,
) -> None:
    """Fine-tune the checkpoint folder `base`; `seed` sets which pairs are seen, and in which order.

    Both methods start from the base and learn from pairs made as `headwise.models.pairs` says: `sft` from the
    chosen responses alone, by their cross-entropy per token; `dpo` by `dpo_loss`, with the base as the frozen
    reference. Train pairs come from train documents; held-out pairs, the same for every model and seed, from
    held-out documents.

    A placebo learns from the same passages in the same order, as many steps at the same rate, without what makes them
    teach: for `dpo` chosen and rejected are swapped by a fair coin per pair (`coin` says which), for `sft` the text is
    plain, without the template. Held-out pairs are those of the arm.

    `checkpoint` receives a folder in the layout of transformers. Its facts.json holds under `alignment` the
    settings, the numbers of pairs, and `before` and `after`: corpus_loss_nats (per token of held-out excerpts
    of the corpus) and what `pair_facts` says of the held-out pairs. `curve` receives the columns step (number
    of updates made), split, loss_nats (of the method), learning_rate and, for dpo, accuracy (share of pairs
    whose chosen response is the likelier).

    Raises CorpusError where the documents are too short for pairs, CheckpointError where the base cannot be
    read, and TrainingError where the loss is not finite.
    """
    if (method == "dpo") != isinstance(settings, Dpo):
        raise ValueError(f"alignment: method '{method}' got the settings of another: pass alignment.{method}")
    # In evaluation mode: dropout would draw from the global random state.
    model, tokenizer = load_checkpoint(base, head=True)
    train = preference_pairs(
        read_documents(documents, "train"),
        tokenizer,
        settings.steps * settings.batch,
        torch.Generator().manual_seed(seed),
        template=not (placebo and method == "sft"),
    )
    if placebo and method == "dpo":
        train = swapped_by_coin(train, torch.Generator().manual_seed(coin_seed(seed, coin)))
    held_out = preference_pairs(
        read_documents(documents, "held_out"), tokenizer, HELD_OUT_PAIRS, torch.Generator().manual_seed(0)
    )
    length = min(CORPUS_TOKENS, model.config.max_position_embeddings)
    stream = token_stream(documents, tokenizer, "held_out", length)
    excerpts = spread_excerpts(stream, length, [tokenizer.bos_token_id])
    reference = _evaluate_pairs(model, train) if isinstance(settings, Dpo) else torch.zeros(len(train), 2)
    held_out_reference = _evaluate_pairs(model, held_out)
    before = {"corpus_loss_nats": evaluate(model, excerpts), **pair_facts(held_out_reference)}

    optimizer = adamw(model, weight_decay=0.0)
    rows = [_curve_row(0, "held_out", held_out_reference, held_out_reference, settings, 0.0)]
    for step in track(range(settings.steps), f"alignment ({method})", settings.steps):
        learning_rate = learning_rate_at(step, settings.steps, settings.warmup, settings.learning_rate)
        seen = torch.arange(step * settings.batch, (step + 1) * settings.batch) % len(train)
        batch = train.take(seen)
        if isinstance(settings, Dpo):
            log_probabilities = pair_log_probabilities(model, batch)
        else:
            log_probabilities = response_log_probabilities(model, batch.prompts, batch.chosen)[:, None]
        loss = objective(log_probabilities, reference[seen], settings)
        rows.append(_curve_row(step, "train", log_probabilities.detach(), reference[seen], settings, learning_rate))
        descend(model, optimizer, loss, learning_rate, step)
    aligned = _evaluate_pairs(model, held_out)
    rows.append(_curve_row(settings.steps, "held_out", aligned, held_out_reference, settings, 0.0))
    after = {"corpus_loss_nats": evaluate(model, excerpts), **pair_facts(aligned)}
    if isinstance(settings, Dpo):
        after |= reward_facts(aligned, held_out_reference, settings.beta)

    facts = {
        "alignment": {
            "method": method,
            "placebo": placebo,
            **({"coin": coin} if coin > 1 else {}),
            **settings.model_dump(),
            "base_weights_digest": weights_digest(base),
            "train_pairs": len(train),
            "held_out_pairs": len(held_out),
            "before": before,
            "after": after,
        }
    }
    digests = save_checkpoint(model, base, documents, checkpoint, metadata, facts)
    write_table(pd.DataFrame(rows), curve, {**metadata, **digests})


def coin_seed(seed: int, coin: int) -> int:
    """Seed of the draws of a coin: of the first that of the pairs, whose order is drawn without looking at them; of
    others a number of 32 bits, which are all that torch's generator keeps of a seed."""
    return seed if coin == 1 else int(np.random.SeedSequence([seed, coin]).generate_state(1)[0])


def objective(log_probabilities: torch.Tensor, reference: torch.Tensor, settings: Sft | Dpo) -> torch.Tensor:
    """What a method minimises, nats: the DPO loss per pair, or the cross-entropy per token of chosen responses.

    `log_probabilities` and `reference` have the shape (pairs, 2), chosen response first; sft reads the first column.
    """
    if isinstance(settings, Dpo):
        return dpo_loss(log_probabilities, reference, settings.beta)
    return -log_probabilities[:, 0].mean() / RESPONSE_TOKENS


def dpo_loss(log_probabilities: torch.Tensor, reference: torch.Tensor, beta: float) -> torch.Tensor:
    """Direct preference optimisation: the mean over pairs of −ln σ(margin) (Rafailov et al. 2023, eq. 7), nats.

    `log_probabilities` and `reference`: ln p of chosen and rejected response under the model and under the
    frozen reference, shape (pairs, 2).
    """
    return -logsigmoid(reward_margin(log_probabilities, reference, beta)).mean()


def reward_margin(log_probabilities: torch.Tensor, reference: torch.Tensor, beta: float) -> torch.Tensor:
    """Implicit reward β ln(p / p_reference) of chosen less that of rejected, shape (pairs,), nats."""
    chosen, rejected = (beta * (log_probabilities - reference)).unbind(dim=1)
    return chosen - rejected


def pair_facts(log_probabilities: torch.Tensor) -> dict[str, float]:
    """Of pairs, shape (pairs, 2): cross-entropy per token of chosen responses, nats, and preference accuracy.

    Preference accuracy is the share of pairs whose chosen response has the higher mean log-probability per
    token. Both responses of a pair have the same number of tokens, so this is the share whose chosen response
    is the likelier.
    """
    chosen, rejected = log_probabilities.unbind(dim=1)
    return {
        "response_loss_nats": float(-chosen.mean() / RESPONSE_TOKENS),
        "preference_accuracy": float((chosen > rejected).float().mean()),
    }


def reward_facts(log_probabilities: torch.Tensor, reference: torch.Tensor, beta: float) -> dict[str, float]:
    """Share of pairs with a positive reward margin, and the mean margin, nats."""
    margin = reward_margin(log_probabilities, reference, beta)
    return {"reward_accuracy": float((margin > 0).float().mean()), "reward_margin_nats": float(margin.mean())}


@torch.no_grad()
def _evaluate_pairs(model: PreTrainedModel, pairs: Pairs) -> torch.Tensor:
    """ln p of all chosen and rejected responses, shape (pairs, 2)."""
    at_once = min(EVALUATION_BATCH, texts_per_pass(model, pairs.prompts.shape[1] + pairs.chosen.shape[1]))
    batches = torch.arange(len(pairs)).split(at_once)
    return torch.cat([pair_log_probabilities(model, pairs.take(rows)) for rows in batches])


def _curve_row(
    step: int,
    split: str,
    log_probabilities: torch.Tensor,
    reference: torch.Tensor,
    settings: Sft | Dpo,
    learning_rate: float,
) -> dict[str, Any]:
    loss = objective(log_probabilities, reference, settings).item()
    row = {"step": step, "split": split, "loss_nats": loss, "learning_rate": learning_rate}
    if isinstance(settings, Dpo):
        row["accuracy"] = pair_facts(log_probabilities)["preference_accuracy"]
    return row
