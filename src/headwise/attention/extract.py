"""Extraction: one forward pass per prompt, from a checkpoint to attention, statistics and descriptors."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow
import torch
from torch import Tensor
from transformers import PreTrainedModel

from headwise.attention.capture import Support
from headwise.attention.descriptors import (
    DESCRIPTORS,
    INDUCTION_SEQUENCES,
    DescriptorMeans,
    Induction,
    measure_induction,
)
from headwise.attention.statistics_capture import CapturedStatistics, capturing_statistics, way_of
from headwise.attention.store import HeadStatisticsWriter, Packing, PairStatisticsWriter, TensorWriter
from headwise.models.architecture import ArchitectureError, architecture_facts
from headwise.models.checkpoint import origin, weight_digests
from headwise.models.encoding import encode, limits_of
from headwise.models.finite import why_not_finite
from headwise.models.load import input_device, load_checkpoint
from headwise.models.optimization import one_thread
from headwise.runtime.atomic import atomic
from headwise.runtime.parquet import write_table
from headwise.runtime.progress import track
from headwise.runtime.provenance import json_digest
from headwise.study.extraction import Extraction
from headwise.study.models import Loading
from headwise.study.prompts import prompts_by_id


class ExtractionError(ValueError):
    """A prompt that a model cannot be measured on; the message names checkpoint, prompt and remedy."""


def extract_attention(
    checkpoint: Path,
    prompts: Path,
    *,
    tensors: Path | None = None,
    heads: Path,
    pairs: Path,
    descriptors: Path,
    settings: Extraction,
    pair_statistics: Sequence[str],
    seed: int,
    metadata: Mapping[str, Any],
    loading: Loading | None = None,
) -> None:
    """Measure the attention of a checkpoint on a prompt set; `loading` says how its weights are brought into memory.

    One forward pass per prompt, without padding, in evaluation mode, on one CPU thread, prompts in the order
    of their ids. Statistics are taken from tiles of attention (see `capturing_statistics`); whole weights exist only
    where the architecture gives no others, and the metadata say in `capture` which way was taken. Layers stream to the
    outputs:

    tensors: attention weights (see `store`); None to store none. heads, pairs: statistics of heads and of
        pairs of heads (see `layer_statistics`); `pair_statistics` names those of pairs. descriptors: means over prompts
        (see `descriptors`), and the induction score on random sequences that `seed` draws.

    All outputs carry `metadata` and facts of the model, and appear only when all are complete. Raises
    ExtractionError for attention that is not finite, errors of `encode` for a prompt that cannot be read by this
    model, CaptureError for an architecture that cannot be captured.
    """
    with one_thread(), torch.inference_mode(), ExitStack() as outputs:
        loading = loading or Loading()
        model, tokenizer = load_checkpoint(checkpoint, settings.dtype, settings.device, loading)
        texts = prompts_by_id(prompts)
        encoded = encode(texts, tokenizer, settings, limits_of(model))
        # Attention does not need the language-model head, the largest matrix of small models, nor a cache.
        body = cast(PreTrainedModel, model.base_model)
        body.config.use_cache = False
        device = input_device(body)
        weights = weight_digests(checkpoint)
        induction = measure_induction(body, tokenizer, np.random.default_rng(seed))
        facts = {
            **metadata,
            **origin(checkpoint),
            "weights_files": weights,
            "weights_digest": json_digest(weights),
            "architecture": _architecture(model),
            "model_type": model.config.model_type,
            "layers": len(induction.scores),
            "heads": len(next(iter(induction.scores.values()))),
            "support": induction.support,
            "capture": way_of(body),
            "dtype": settings.dtype,
            "device": device.type,
            "quantization": loading.quantization,
            **settings.as_recorded(),
            "longest_prompt_tokens": max((len(prompt.token_ids) for prompt in encoded), default=0),
            "tokens_digest": json_digest({prompt.id: prompt.token_ids for prompt in encoded}),
        }
        # Of an earlier run with other statistics; Snakemake marks those of this one when it has ended.
        for mark in pairs.parent.glob("*.computed"):
            mark.unlink()
        # Writers close before the first of these moves a complete file to its name.
        paths = [path for path in (tensors, heads, pairs, descriptors) if path is not None]
        unfinished = {path: outputs.enter_context(atomic(path)) for path in paths}
        recorder = _Recorder(
            checkpoint=checkpoint,
            model=model,
            statistics=pair_statistics,
            support=induction.support,
            tensors=outputs.enter_context(TensorWriter.open(unfinished[tensors], induction.support, facts))
            if tensors
            else None,
            heads=outputs.enter_context(HeadStatisticsWriter.open(unfinished[heads], facts)),
            pairs=outputs.enter_context(PairStatisticsWriter.open(unfinished[pairs], pair_statistics, facts)),
        )
        take_tile = recorder.pack if tensors else None
        with capturing_statistics(body, pair_statistics, recorder.record, take_tile):
            for prompt in track(encoded, f"attention of {checkpoint}", len(encoded)):
                recorder.prompt = prompt.id
                body(input_ids=torch.tensor([prompt.token_ids], device=device))
        table = _descriptor_table(recorder.means, induction)
        write_table(
            table,
            unfinished[descriptors],
            {**facts, "induction_period": induction.period, "induction_sequences": INDUCTION_SEQUENCES},
        )


@dataclass
class _Recorder:
    """Sends the attention of the current prompt to the writers."""

    checkpoint: Path
    model: PreTrainedModel
    statistics: Sequence[str]
    support: Support
    tensors: TensorWriter | None
    heads: HeadStatisticsWriter
    pairs: PairStatisticsWriter
    means: DescriptorMeans = field(default_factory=DescriptorMeans)
    prompt: str = ""
    packing: dict[int, Packing] = field(default_factory=dict)

    def pack(self, layer: int, tokens: int, first: int, tile: Tensor) -> None:
        """Take a tile of a layer that is recorded once it is complete."""
        if first == 0:
            self.packing[layer] = Packing(len(tile), tokens, self.support)
        self.packing[layer].add(first, tile)

    def record(self, captured: CapturedStatistics) -> None:
        layer, statistics = captured.layer, captured.statistics
        if not captured.finite:
            raise ExtractionError(
                f"{self.checkpoint}, prompt '{self.prompt}', layer {layer}: attention is not finite: "
                f"{why_not_finite(self.model)}"
            )
        if captured.support != self.support:
            raise ExtractionError(
                f"{self.checkpoint}, prompt '{self.prompt}', layer {layer}: attention is {captured.support} "
                f"here and {self.support} elsewhere: choose a checkpoint whose layers agree."
            )
        if self.tensors is not None:
            self.tensors.add_packed(self.prompt, layer, statistics.tokens, self.packing.pop(layer).packed)
        self.heads.add(self.prompt, layer, statistics.heads)
        heads = len(statistics.heads["kept"].received)
        self.pairs.add(self.prompt, layer, statistics.pairs, tokens=statistics.tokens, heads=heads)
        self.means.add(layer, statistics)


def _architecture(model: PreTrainedModel) -> dict[str, Any] | None:
    """Facts from the model's config; None for an architecture whose config is not understood, which can be measured."""
    try:
        return architecture_facts(model.config)
    except ArchitectureError:
        return None


def _descriptor_table(means: DescriptorMeans, induction: Induction) -> pyarrow.Table:
    """One row per (layer, head): the means of the descriptors over prompts, the induction score, and the rows that are
    left out where key 0 is removed, with their share."""
    tables = []
    for layer, scores in induction.scores.items():
        columns = dict(zip(DESCRIPTORS, means.of_layer(layer).T.cpu().numpy(), strict=True))
        identity = {
            "layer": np.full(len(scores), layer, np.int16),
            "head": np.arange(len(scores), dtype=np.int16),
        }
        left_out, rows = means.left_out(layer)
        columns |= {"induction": scores.cpu().numpy(), "rows_left_out": left_out.cpu().numpy()}
        columns["left_out_share"] = columns["rows_left_out"] / (rows or np.nan)
        tables.append(pyarrow.table({**identity, **columns}))
    return pyarrow.concat_tables(tables)
