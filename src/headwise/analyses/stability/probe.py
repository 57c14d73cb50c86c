"""What is measured on the models of a group of refits, beside the attention that was stored: one job, one loading each.

Residual streams, importance of heads, norms of weights, mean outputs of heads, how many tokens the first words of each
prompt are; and models with random weights, whose attention is the control of every comparison.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.analyses.stability.ablation import (
    Batch,
    ablatable_layers,
    ablated_losses,
    mean_outputs,
    reading_outputs,
    value_biases,
)
from headwise.analyses.stability.cka import cka
from headwise.analyses.stability.names import (
    CORRECTED,
    HELD_OUT,
    MEAN,
    PROMPTS,
    PUBLISHED,
    RANDOM,
    SITES,
    TRAINED,
    VALUE_BIAS,
    ZERO,
)
from headwise.analyses.stability.packed import StabilityError
from headwise.analyses.stability.residual import residual_streams
from headwise.analyses.stability.settings import Stability
from headwise.analyses.stability.weights import layer_norms, tensors_digest
from headwise.attention.capture import LayerAttention, Support, capturing
from headwise.attention.store import TensorWriter
from headwise.models.architecture import language_model_class
from headwise.models.checkpoint import weights_digest
from headwise.models.encoding import Encoder, encode, limits_of
from headwise.models.excerpts import EVALUATED_EXCERPTS, held_out_excerpts
from headwise.models.load import load_checkpoint
from headwise.models.optimization import one_thread
from headwise.models.resources import TEXTS_AT_ONCE
from headwise.runtime.parquet import write_table
from headwise.runtime.progress import track
from headwise.runtime.provenance import json_digest
from headwise.study.extraction import Extraction, FirstToken
from headwise.study.prompts import EncodedPrompt, Prompt, prompts_by_id
from headwise.study.reading import Reading


@dataclass(frozen=True)
class Probes:
    """Where the measurements on a group of refits go; one row per observation in each table.

    beginnings  words, prompt, tokens: how many tokens the first words of a prompt are
    residual    weights (TRAINED, RANDOM), layer, site, kernel, refit, other, value, tokens: CKA of two refits
    importance  refit, layer, head, text (PROMPTS, HELD_OUT), replacement (ZERO, MEAN, VALUE_BIAS), delta_perplexity,
                delta_loss_nats
    losses      refit, text, loss_nats, tokens: of the whole models
    norms       refit, layer, matrix, version (published, corrected), norm
    outputs     refit, prompt, layer, head, mean: mean over tokens of a head's output z, list of float32
    random      attention of models with random weights, a tensor Parquet each
    """

    beginnings: Path
    residual: Path
    importance: Path
    losses: Path
    norms: Path
    outputs: Path
    random: Sequence[Path]


COLUMNS = {
    "beginnings": {"words": "int64", "prompt": "str", "tokens": "int64"},
    "residual": {
        "weights": "str",
        "layer": "int64",
        "site": "str",
        "kernel": "str",
        "refit": "int64",
        "other": "int64",
        "value": "float64",
        "tokens": "int64",
    },
    "importance": {
        "refit": "int64",
        "layer": "int64",
        "head": "int64",
        "text": "str",
        "replacement": "str",
        "delta_perplexity": "float64",
        "delta_loss_nats": "float64",
    },
    "losses": {"refit": "int64", "text": "str", "loss_nats": "float64", "tokens": "int64"},
    "norms": {"refit": "int64", "layer": "int64", "matrix": "str", "version": "str", "norm": "float64"},
}


def probe_refits(
    refits: Sequence[Reading],
    prompts: Path,
    outputs: Probes,
    settings: Stability,
    metadata: Mapping[str, Any],
    documents: Path | None = None,
) -> None:
    """Measure the models of a group of refits, which are numbered from 0 in their order.

    documents  the corpus, for its held-out text; None where heads are not ablated.
    metadata   names the group and its refits

    Raises StabilityError where two refits have the same weights or read different tokens, CorpusError where there is
    too little held-out text, CaptureError for an architecture that cannot be measured.
    """
    # Files first, since that is known before anything is computed; then what was loaded, however it lay in files.
    metadata = {**metadata, **refits[0].extraction.as_recorded()}
    same_files, same_weights = _NoTwice(metadata), _NoTwice(metadata)
    for refit, reading in enumerate(refits):
        same_files.add(weights_digest(reading.checkpoint), refit)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in COLUMNS}
    streams: dict[tuple[str, int, str], list[np.ndarray[Any, Any]]] = {}
    mean_outputs: list[pyarrow.Table] = []
    texts = prompts_by_id(prompts)
    tokens_of_first = None
    wanted = set(settings.analyses)
    with one_thread():
        for refit, reading in enumerate(refits):
            checkpoint, extraction = reading.checkpoint, reading.extraction
            model, tokenizer = load_checkpoint(
                checkpoint, extraction.dtype, extraction.device, reading.loading, head="ablation" in wanted
            )
            same_weights.add(tensors_digest(model), refit)
            encoded = encode(texts, tokenizer, extraction, limits_of(model))
            tokens = [prompt.token_ids for prompt in encoded]
            tokens_of_first = tokens_of_first or tokens
            if tokens != tokens_of_first:
                raise StabilityError(
                    f"{refits[0].checkpoint} and {checkpoint} read different tokens: give refits one tokenizer, "
                    "or put these two into different groups"
                )
            if refit == 0:
                rows["beginnings"] = list(_beginnings(texts, encoded, tokenizer, extraction, settings.words))
                for number, path in enumerate(outputs.random):
                    random = random_model(model, seed=number)
                    if "residual" in wanted:
                        _read_streams(random, encoded, settings.residual_tokens, RANDOM, streams)
                    write_attention(random, encoded, path, metadata, number)
                    del random  # before the next one is made
            if "residual" in wanted:
                _read_streams(model, encoded, settings.residual_tokens, TRAINED, streams)
            if "weights" in wanted:
                rows["norms"] += _norms(model, refit)
            if "head_map" in wanted:
                mean_outputs.append(_mean_outputs(model, encoded, refit))
            if "ablation" in wanted:
                assert documents is not None, "the caller gives held-out text"
                held_out = [_held_out(documents, model, tokenizer, extraction.first_token, settings)]
                for text, batches in ((HELD_OUT, held_out), (PROMPTS, _by_length(encoded) if refit == 0 else [])):
                    _ablate(model, batches, text, refit, rows)
            del model
        rows["residual"] = list(_compare_streams(streams))
    for name, columns in COLUMNS.items():
        table = pd.DataFrame(rows[name], columns=list(columns)).astype(columns)
        write_table(table, getattr(outputs, name), metadata)
    write_table(pyarrow.concat_tables(mean_outputs or [outputs_table(0, [], [], [])]), outputs.outputs, metadata)


class _NoTwice:
    """Digests of the refits of a group, each of which may occur once."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self.metadata = metadata
        self.seen: dict[str, int] = {}

    def add(self, digest: str, refit: int) -> None:
        other = self.seen.setdefault(digest, refit)
        if other != refit:
            one, two = (self.metadata["refits"][each] for each in (other, refit))
            raise StabilityError(
                f"group '{self.metadata['group']}': {one} and {two} have the same weights, and a model is no refit of "
                "itself: leave one of them out"
            )


def random_model(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A model of the same configuration with the random weights that its class starts training from.

    Matrices that are zero in the trained model, as those of silenced feed-forward layers, are zero here.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random = language_model_class(model.config).from_config(model.config)
    random = random.to(device=model.device, dtype=model.dtype).eval()
    with torch.no_grad():
        for trained, fresh in zip(model.parameters(), random.parameters(), strict=True):
            if trained.ndim > 1 and not trained.any():
                fresh.zero_()
    return cast(PreTrainedModel, random)


@torch.inference_mode()
def write_attention(
    model: PreTrainedModel, prompts: Sequence[EncodedPrompt], path: Path, metadata: Mapping[str, Any], seed: int
) -> None:
    """Write the attention of a model on all prompts as a tensor Parquet."""
    support: set[Support] = set()
    body = cast(PreTrainedModel, model.base_model)
    longest = max(prompts, key=lambda prompt: len(prompt.token_ids))
    with capturing(body, lambda attention: support.add(attention.support)):
        _forward(model, longest)
    facts = {
        **metadata,
        "weights": RANDOM,
        "seed": seed,
        "tokens_digest": json_digest({prompt.id: prompt.token_ids for prompt in prompts}),
    }
    with ExitStack() as files:
        writer = files.enter_context(TensorWriter.open(path, "full" if "full" in support else "causal", facts))
        current = ""

        def record(attention: LayerAttention) -> None:
            writer.add(current, attention.layer, attention.weights)

        with capturing(body, record):
            for prompt in track(prompts, "attention of random weights", len(prompts)):
                current = prompt.id
                _forward(model, prompt)


def _forward(model: PreTrainedModel, prompt: EncodedPrompt) -> None:
    model.base_model(input_ids=torch.tensor([prompt.token_ids], device=model.device), use_cache=False)


def _beginnings(
    texts: Sequence[Prompt],
    encoded: Sequence[EncodedPrompt],
    tokenizer: PreTrainedTokenizerBase,
    extraction: Extraction,
    lengths: Sequence[int],
) -> Iterator[dict[str, Any]]:
    """How many tokens the first words of each prompt are, where those are the first tokens of the whole prompt.

    Prompts with fewer words are left out, and so is a length in a template, which closes what it opens.
    """
    if extraction.template != "raw":
        return
    encoder = Encoder.of(tokenizer)
    for words in lengths:
        for text, whole in zip(texts, encoded, strict=True):
            parts = text.text.split()
            if len(parts) < words:
                continue
            beginning = text.text[: _end_of_word(text.text, words)]
            ids = encoder.raw(beginning, extraction.first_token)
            # Encoders close a text with a token that the whole text has elsewhere.
            if whole.token_ids[: len(ids)] == ids:
                yield {"words": words, "prompt": text.id, "tokens": len(ids)}


def _end_of_word(text: str, words: int) -> int:
    """Where the first so many words of a text end."""
    place = 0
    for word in text.split()[:words]:
        place = text.index(word, place) + len(word)
    return place


def _spread(prompts: Sequence[EncodedPrompt], most: int | None) -> list[EncodedPrompt]:
    """As many prompts as hold at most so many tokens, evenly spread over all; at least one."""
    for count in range(len(prompts), 1, -1):
        chosen = [prompts[place] for place in np.linspace(0, len(prompts) - 1, count).round().astype(int)]
        if most is None or sum(len(prompt.token_ids) for prompt in chosen) <= most:
            return chosen
    return [prompts[0]]


@torch.inference_mode()
def _read_streams(
    model: PreTrainedModel,
    prompts: Sequence[EncodedPrompt],
    most: int | None,
    weights: str,
    streams: dict[tuple[str, int, str], list[np.ndarray[Any, Any]]],
) -> None:
    """Append the residual stream of a model on a selection of prompts: (tokens, hidden) for each layer and site."""
    chosen = _spread(prompts, most)
    parts: dict[tuple[int, str], list[np.ndarray[Any, Any]]] = {}
    with residual_streams(model) as current:
        for prompt in track(chosen, "residual stream", len(chosen)):
            _forward(model, prompt)
            for key, stream in current.items():
                parts.setdefault(key, []).append(stream.numpy())
    for (layer, site), values in parts.items():
        streams.setdefault((weights, layer, site), []).append(np.concatenate(values))


def _compare_streams(streams: Mapping[tuple[str, int, str], list[np.ndarray[Any, Any]]]) -> Iterator[dict[str, Any]]:
    order = sorted(streams, key=lambda key: (key[0] != TRAINED, key[1], SITES.index(key[2])))
    for weights, layer, site in track(order, "similarity of residual streams", len(order)):
        refits = streams[weights, layer, site]
        for kernel, values in cka(refits).items():
            for one, two in zip(*np.triu_indices(len(refits), 1), strict=True):
                yield {
                    "weights": weights,
                    "layer": layer,
                    "site": site,
                    "kernel": kernel,
                    "refit": one,
                    "other": two,
                    "value": values[one, two],
                    "tokens": len(refits[0]),
                }


def _norms(model: PreTrainedModel, refit: int) -> Iterator[dict[str, Any]]:
    for version in (PUBLISHED, CORRECTED):
        for layer, norms in layer_norms(model, published=version == PUBLISHED).items():
            for matrix, norm in norms.items():
                yield {"refit": refit, "layer": layer, "matrix": matrix, "version": version, "norm": norm}


@torch.inference_mode()
def _mean_outputs(model: PreTrainedModel, prompts: Sequence[EncodedPrompt], refit: int) -> pyarrow.Table:
    means: list[np.ndarray[Any, Any]] = []
    current: dict[int, np.ndarray[Any, Any]] = {}

    def receive(place: int, outputs: torch.Tensor) -> None:
        current[place] = outputs[0].float().mean(0).cpu().numpy()

    with reading_outputs(model, receive):
        for prompt in track(prompts, "mean outputs of heads", len(prompts)):
            _forward(model, prompt)
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


def _held_out(
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


def _by_length(prompts: Sequence[EncodedPrompt]) -> list[Batch]:
    """Prompts as inputs and targets, those of one length together; a prompt of one token predicts nothing."""
    by_length: dict[int, list[list[int]]] = {}
    for prompt in prompts:
        if len(prompt.token_ids) > 1:
            by_length.setdefault(len(prompt.token_ids), []).append(prompt.token_ids)
    return [
        (part[:, :-1], part[:, 1:]) for ids in by_length.values() for part in torch.tensor(ids).split(TEXTS_AT_ONCE)
    ]


def _ablate(
    model: PreTrainedModel, batches: Sequence[Batch], text: str, refit: int, rows: dict[str, list[dict[str, Any]]]
) -> None:
    """Add what each head's ablation costs on a text: zero and mean on held-out text, on prompts as published."""
    if not batches:
        return
    sizes = torch.tensor([len(row) for _, targets in batches for row in targets], dtype=torch.float64)
    weights = sizes / sizes.sum()
    layers = [layer.index for layer in ablatable_layers(model)]
    replacements = (
        {ZERO: None, MEAN: mean_outputs(model, [inputs for inputs, _ in batches])}
        if text == HELD_OUT
        else {VALUE_BIAS: value_biases(model)}
    )
    for number, (replacement, values) in enumerate(replacements.items()):
        without, whole = ablated_losses(model, batches, values)
        loss, losses = float(whole @ weights), without @ weights
        if number == 0:
            rows["losses"].append({"refit": refit, "text": text, "loss_nats": loss, "tokens": int(sizes.sum())})
        for place, head in np.ndindex(*losses.shape):
            rows["importance"].append(
                {
                    "refit": refit,
                    "layer": layers[place],
                    "head": head,
                    "text": text,
                    "replacement": replacement,
                    "delta_perplexity": _perplexity(float(losses[place, head])) - _perplexity(loss),
                    "delta_loss_nats": float(losses[place, head]) - loss,
                }
            )


def _perplexity(loss: float) -> float:
    """Of a loss in nats per token; infinite where no number is large enough."""
    return math.exp(loss) if loss < math.log(sys.float_info.max) else math.inf
