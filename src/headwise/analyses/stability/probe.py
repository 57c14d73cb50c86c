"""What is measured on the models of a group of refits, beside the attention that was stored: one job, one loading each.

What heads write, residual streams, importance of heads, norms of weights, mean outputs of heads, how many tokens the
first words of each prompt are; and models with random weights, whose attention is the control of every comparison.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow

from headwise.analyses.stability.beginnings import beginnings
from headwise.analyses.stability.functions import Functions, writes
from headwise.analyses.stability.group_rows import (
    PROBED,
    Beginning,
    HeadImportance,
    HeadSimilarity,
    MatrixNorm,
    ModelLoss,
    StreamSimilarity,
)
from headwise.analyses.stability.head_outputs import outputs_on_prompts, outputs_table
from headwise.analyses.stability.importance import by_length, head_importance, held_out_text
from headwise.analyses.stability.names import HELD_OUT, PROMPTS, RANDOM, TRAINED, Measure
from headwise.analyses.stability.packed import StabilityError
from headwise.analyses.stability.random_weights import random_model, write_attention
from headwise.analyses.stability.settings import Stability
from headwise.analyses.stability.stream_similarity import RefitStreams, compare_streams, read_streams
from headwise.analyses.stability.weights import matrix_norms, tensors_digest
from headwise.models.checkpoint import weights_digest
from headwise.models.encoding import encode, limits_of
from headwise.models.load import load_checkpoint
from headwise.models.optimization import one_thread
from headwise.runtime.parquet import write_table
from headwise.study.prompts import prompts_by_id
from headwise.study.reading import Reading
from headwise.tables.files import write_rows
from headwise.tables.row import Row


@dataclass(frozen=True)
class Probes:
    """Where the measurements on a group of refits go: the row classes PROBED by their table's name, and

    outputs  refit, prompt, layer, head, mean: mean over tokens of a head's output z, list of float32
    random   attention of models with random weights, a tensor Parquet each
    """

    beginnings: Path
    similarities: Path
    residual: Path
    importance: Path
    losses: Path
    norms: Path
    outputs: Path
    random: Sequence[Path]


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
    rows: dict[type[Row], list[Any]] = {row: [] for row in PROBED if row is not HeadSimilarity}
    streams: RefitStreams = {}
    functions = Functions()
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
                rows[Beginning] = list(beginnings(texts, encoded, tokenizer, extraction, settings.words))
                for number, path in enumerate(outputs.random):
                    random = random_model(model, seed=number)
                    if "residual" in wanted:
                        read_streams(random, encoded, settings.residual_tokens, RANDOM, streams)
                    if "writes" in wanted:
                        functions.add(RANDOM, Measure.WRITES, writes(random, encoded, settings.residual_tokens))
                    write_attention(random, encoded, path, metadata, number)
                    del random  # before the next one is made
            if "residual" in wanted:
                read_streams(model, encoded, settings.residual_tokens, TRAINED, streams)
            if "writes" in wanted:
                functions.add(TRAINED, Measure.WRITES, writes(model, encoded, settings.residual_tokens))
            if "weights" in wanted:
                rows[MatrixNorm] += matrix_norms(model, refit)
            if "head_map" in wanted:
                mean_outputs.append(outputs_on_prompts(model, encoded, refit))
            if "ablation" in wanted:
                assert documents is not None, "the caller gives held-out text"
                held_out = [held_out_text(documents, model, tokenizer, extraction.first_token, settings)]
                for text, batches in ((HELD_OUT, held_out), (PROMPTS, by_length(encoded) if refit == 0 else [])):
                    ablated = head_importance(model, batches, text, refit)
                    rows[ModelLoss] += ablated.losses
                    rows[HeadImportance] += ablated.importance
                    functions.add(TRAINED, Measure.ABLATION_PROFILE, ablated.profiles)
            del model
        rows[StreamSimilarity] = list(compare_streams(streams))
    for row, found in rows.items():
        write_rows(row, found, getattr(outputs, row.table), metadata)
    write_rows(HeadSimilarity, functions.rows(), outputs.similarities, metadata)
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
