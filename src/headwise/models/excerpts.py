"""Excerpts of the corpus as tensors, and the loss on them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.models.corpus import CorpusError, Split, read_documents
from headwise.models.encoding import Encoder, EncodingError, limits_of, refuse_unknown
from headwise.models.resources import EVALUATION_BATCH, texts_at_once
from headwise.models.tokenizer import encode_documents
from headwise.study.extraction import FirstToken

# Held-out excerpts that a loss is measured on; spread evenly over the held-out text.
EVALUATED_EXCERPTS = 64


def token_stream(documents: Path, tokenizer: PreTrainedTokenizerBase, split: Split, at_least: int) -> torch.Tensor:
    """All documents of a split as one sequence of token ids, int64.

    Each document stands there as the tokenizer encodes it by itself, with the tokens that it puts before or after a
    text (`<|bos|>` before each, of tokenizers that are trained here). Where it puts none, documents are separated by
    its end token, else by its BOS token; of a tokenizer with neither they run together. What a measured text begins
    with makes no difference here, so that excerpts are of the same text whatever precedes them.

    Raises CorpusError where it has fewer than `at_least` tokens.
    """
    encoded = encode_documents(read_documents(documents, split), tokenizer)
    encoder = Encoder.of(tokenizer)
    end = next((token for token in (encoder.eos, encoder.bos) if token is not None), None)
    between = [] if end is None or any(encoder.own_tokens()) else [end]
    stream = torch.tensor([token for document in encoded for token in [*between, *document]][len(between) :])
    if len(stream) < at_least:
        raise CorpusError(
            f"{documents}: the split '{split}' has {len(stream)} tokens and an excerpt {at_least}: "
            "add text to the corpus, change corpus.held_out, or shorten training.tokens"
        )
    return stream


def take_excerpts(
    stream: torch.Tensor, starts: torch.Tensor, tokens: int, first: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of excerpts of so many tokens of the stream, int64 (excerpts, T) and (excerpts, targets).

    Every input begins with `first`, as every prompt does that is measured later, and every token of the text is a
    target. Without a first token there is nothing to predict the first token of the text from, and targets begin with
    the second. Targets are what follows the last inputs; there are more inputs only where `first` is several tokens.
    """
    text = stream[starts[:, None] + torch.arange(tokens)]
    if not len(first):
        return text[:, :-1], text[:, 1:]
    return torch.cat([torch.tensor(first).expand(len(starts), -1), text[:, :-1]], dim=1), text


def spread_excerpts(
    stream: torch.Tensor, tokens: int, first: Sequence[int], most: int = EVALUATED_EXCERPTS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of up to `most` excerpts, evenly spread and without overlap."""
    count = min(most, len(stream) // tokens)
    return take_excerpts(stream, torch.arange(count) * (len(stream) // count), tokens, first)


def held_out_excerpts(
    documents: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    first_token: FirstToken,
    tokens: int,
    most: int,
    *,
    shorten: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of up to `most` excerpts of held-out text, evenly spread, as a model reads text.

    shorten  take excerpts of as many tokens as the model has positions for where `tokens` are more

    Raises EncodingError for longer excerpts otherwise and for a tokenizer that does not fit the model, CorpusError
    where there is less text than one excerpt.
    """
    encoder, limits = Encoder.of(tokenizer), limits_of(model)
    first = encoder.first_tokens(first_token)
    # The last token of an excerpt is predicted and not read.
    room = tokens if limits.positions is None else limits.positions - len(first) + 1
    if tokens > room and not shorten:
        raise EncodingError(
            f"{encoder.name}: excerpts of {tokens} tokens do not fit into the {limits.positions} positions of the "
            f"model: shorten them to {room} (noise.tokens of the study)"
        )
    tokens = min(tokens, room)
    inputs, targets = spread_excerpts(token_stream(documents, tokenizer, "held_out", tokens), tokens, first, most)
    refuse_unknown(encoder, [int(inputs.max()), int(targets.max())], limits, "held-out text")
    return inputs, targets


def texts_per_pass(model: PreTrainedModel, tokens: int) -> int:
    """How many texts of so many tokens are read at once, 1 or more, where what is computed of each needs no other."""
    config = model.config.get_text_config()
    return texts_at_once(config.num_attention_heads, config.vocab_size, tokens)


def excerpt_loss(model: PreTrainedModel, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy per target token, nats; a scalar with a gradient, on the model's device."""
    logits = model(input_ids=inputs.to(model.device), use_cache=False).logits[:, -targets.shape[1] :]
    return cross_entropy(logits.flatten(0, 1), targets.to(model.device).flatten())


def losses_per_excerpt(model: PreTrainedModel, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy per target token of each excerpt, nats; float32 (excerpts,)."""
    logits = model(input_ids=inputs, use_cache=False).logits[:, -targets.shape[1] :].float()
    # Not transposed: torch then sums a vocabulary of 50,000 words one by one, and is wrong by 1e-4 nats.
    return cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape).mean(1)


@torch.no_grad()
def evaluate(model: PreTrainedModel, excerpts: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Mean cross-entropy per token over excerpts of equal length, nats."""
    at_once = min(EVALUATION_BATCH, texts_per_pass(model, excerpts[0].shape[1]))
    batches = zip(*(tensor.split(at_once) for tensor in excerpts), strict=True)
    total = sum(excerpt_loss(model, inputs, targets).item() * len(inputs) for inputs, targets in batches)
    return total / len(excerpts[0])


def unigram_entropy(train: torch.Tensor, targets: torch.Tensor, vocabulary: int) -> float:
    """Cross-entropy of `targets` under the token frequencies of `train` (one added to each count), nats per token.

    What a model reaches that knows how frequent tokens are and nothing of their order.
    """
    counts = torch.bincount(train, minlength=vocabulary).double() + 1
    return float(-(counts / counts.sum()).log()[targets].mean())
