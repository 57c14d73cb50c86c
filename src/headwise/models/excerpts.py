"""Excerpts of the corpus as tensors, and the loss on them."""

from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.models.corpus import CorpusError, Split, read_documents
from headwise.models.tokenizer import encode_documents

# Held-out excerpts that a loss is measured on; spread evenly over the held-out text.
EVALUATED_EXCERPTS = 64
EVALUATION_BATCH = 16


def token_stream(documents: Path, tokenizer: PreTrainedTokenizerBase, split: Split, at_least: int) -> torch.Tensor:
    """All documents of a split as one sequence of token ids, int64, with `<|bos|>` before each document.

    Raises CorpusError where it has fewer than `at_least` tokens.
    """
    encoded = encode_documents(read_documents(documents, split), tokenizer)
    stream = torch.tensor([token for document in encoded for token in document])
    if len(stream) < at_least:
        raise CorpusError(
            f"{documents}: the split '{split}' has {len(stream)} tokens and an excerpt {at_least}: "
            "add text to the corpus, change corpus.held_out, or shorten training.tokens"
        )
    return stream


def take_excerpts(
    stream: torch.Tensor, starts: torch.Tensor, tokens: int, bos: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets, both of shape (starts, tokens): target t is the stream's token at start + t.

    Every input begins with `bos`, as every prompt does that is measured later.
    """
    targets = stream[starts[:, None] + torch.arange(tokens)]
    inputs = torch.cat([torch.full((len(starts), 1), bos), targets[:, :-1]], dim=1)
    return inputs, targets


def spread_excerpts(
    stream: torch.Tensor, tokens: int, bos: int, most: int = EVALUATED_EXCERPTS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of up to `most` excerpts, evenly spread and without overlap."""
    count = min(most, len(stream) // tokens)
    return take_excerpts(stream, torch.arange(count) * (len(stream) // count), tokens, bos)


def excerpt_loss(model: PreTrainedModel, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy per target token, nats; a scalar with a gradient, on the model's device."""
    logits = model(input_ids=inputs.to(model.device), use_cache=False).logits
    return cross_entropy(logits.flatten(0, 1), targets.to(model.device).flatten())


def losses_per_excerpt(model: PreTrainedModel, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy per target token of each excerpt, nats; float32 (excerpts,)."""
    logits = model(input_ids=inputs, use_cache=False).logits.float()
    return cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(1)


@torch.no_grad()
def evaluate(model: PreTrainedModel, excerpts: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Mean cross-entropy per token over excerpts of equal length, nats."""
    batches = zip(*(tensor.split(EVALUATION_BATCH) for tensor in excerpts), strict=True)
    total = sum(excerpt_loss(model, inputs, targets).item() * len(inputs) for inputs, targets in batches)
    return total / len(excerpts[0])


def unigram_entropy(train: torch.Tensor, targets: torch.Tensor, vocabulary: int) -> float:
    """Cross-entropy of `targets` under the token frequencies of `train` (one added to each count), nats per token.

    What a model reaches that knows how frequent tokens are and nothing of their order.
    """
    counts = torch.bincount(train, minlength=vocabulary).double() + 1
    return float(-(counts / counts.sum()).log()[targets].mean())
