"""Do the heads of a model do anything? What attention is worth, a bigram, and the best previous-token head.

A difference between heads means something where heads do something. All three must hold:

    L(no attention) − L ≥ attention_worth     L: held-out loss, nats per token
    L < L(bigram)                             fitted on as many tokens as training saw
    max over heads of previous_token ≥ previous_token of the study

Known failure: a model whose attention moves what every position needs alike, such as a constant, is worth much and has
no head that looks anywhere; and zeros are an output that later layers never met, so that (a) alone overrates attention.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.analyses.working_heads.bigram import Bigram, fit_bigram
from headwise.analyses.working_heads.rows import WorkingHeadsRow
from headwise.analyses.working_heads.settings import HELD_OUT_TOKENS, WorkingHeads
from headwise.attention.capture import attention_layers
from headwise.models.checkpoint import checkpoint_folder
from headwise.models.excerpts import EVALUATED_EXCERPTS, evaluate, spread_excerpts, token_stream
from headwise.models.load import load_checkpoint
from headwise.models.optimization import one_thread
from headwise.runtime.json_files import read_json
from headwise.runtime.parquet import read_metadata, read_table
from headwise.runtime.progress import track
from headwise.tables.files import write_rows
from headwise.tables.frame import records

# Inputs and targets of held-out excerpts, int64 (excerpts, tokens).
Excerpts = tuple[Tensor, Tensor]


@one_thread()
def measure_working_heads(
    checkpoints: Sequence[Path],
    documents: Sequence[Path],
    descriptors: Sequence[Path],
    settings: WorkingHeads,
    study: str,
    table: Path,
) -> None:
    """Write a row per model and seed.

    checkpoints  of models that were trained here, each before its descendants
    documents    text that each was trained on, or its base
    descriptors  descriptors.parquet of each, which says where its heads look
    """
    rows: list[WorkingHeadsRow] = []
    trainings: dict[tuple[str, int], Mapping[str, Any]] = {}
    references: dict[tuple[Any, ...], tuple[int, Excerpts, Bigram]] = {}
    found = list(zip(checkpoints, documents, descriptors, strict=True))
    for checkpoint, text, heads in track(found, "working heads", len(found)):
        known = read_metadata(heads)
        model, tokenizer = load_checkpoint(checkpoint, head=True)
        trained = known["base"] or known["model"], known["seed"]
        if known["base"] is None:
            trainings[trained] = read_json(checkpoint_folder(checkpoint) / "facts.json")["training"]
        seen = tuple(trainings[trained][name] for name in ("steps", "batch", "tokens"))
        # Refits and architectures that saw as much of the same text have the same bigram.
        if (shared := (text, *seen)) not in references:
            references[shared] = _reference(text, tokenizer, *seen)
        rows.append(_row(model, known, heads, references[shared], settings))
    write_rows(WorkingHeadsRow, rows, table, {"study": study})


def attention_worth(model: PreTrainedModel, excerpts: Excerpts) -> tuple[float, float]:
    """How much the loss rises where all attention layers write zeros, and the loss itself, nats per token."""
    loss = evaluate(model, excerpts)
    with writing_zeros(model):
        return evaluate(model, excerpts) - loss, loss


@contextmanager
def writing_zeros(model: PreTrainedModel) -> Iterator[None]:
    """Within the block, the output of every attention module is zeros, output bias included."""
    with ExitStack() as hooks:
        for layer in attention_layers(model):
            hooks.callback(layer.module.register_forward_hook(_zeros).remove)
        yield


def _zeros(module: nn.Module, inputs: Any, output: Any) -> Any:
    if isinstance(output, Tensor):
        return torch.zeros_like(output)
    return (torch.zeros_like(output[0]), *output[1:])


def _reference(
    documents: Path, tokenizer: PreTrainedTokenizerBase, steps: int, batch: int, tokens: int
) -> tuple[int, Excerpts, Bigram]:
    """Tokens that training saw, excerpts of held-out text, and the bigram."""
    first, seen = [tokenizer.bos_token_id], steps * batch * tokens
    train, held_out = (token_stream(documents, tokenizer, split, tokens) for split in ("train", "held_out"))
    bigram = fit_bigram(train, tokens, first, seen, len(tokenizer))
    most = min(EVALUATED_EXCERPTS, max(1, HELD_OUT_TOKENS // tokens))
    return seen, spread_excerpts(held_out, tokens, first, most), bigram


def _row(
    model: PreTrainedModel,
    known: Mapping[str, Any],
    descriptors: Path,
    reference: tuple[int, Excerpts, Bigram],
    settings: WorkingHeads,
) -> WorkingHeadsRow:
    seen, (inputs, targets), bigram = reference
    worth, loss = attention_worth(model, (inputs, targets))
    bigram_loss = bigram.loss(inputs[:, -targets.shape[1] :], targets)
    heads = records(read_table(descriptors, ["layer", "head", "previous_token"]).dropna())
    best = max(heads, key=lambda row: row["previous_token"], default=None)
    looks_back = best is not None and bool(best["previous_token"] >= settings.previous_token)
    return WorkingHeadsRow(
        model=known["model"],
        base=known["base"],
        seed=known["seed"],
        attention_worth_nats=worth,
        loss_nats=loss,
        bigram_loss_nats=bigram_loss,
        previous_token=None if best is None else float(best["previous_token"]),
        layer=None if best is None else int(best["layer"]),
        head=None if best is None else int(best["head"]),
        tokens_seen=seen,
        bigram_tokens=bigram.tokens,
        interpolation=bigram.weight,
        attention_works=worth >= settings.attention_worth,
        below_bigram=loss < bigram_loss,
        previous_token_works=looks_back,
        works=worth >= settings.attention_worth and loss < bigram_loss and looks_back,
    )
