"""What a job needs, from the shape of its model: memory, time and GPUs, for the scheduler of a cluster.

Memory is what the libraries take, the weights, and tiles of attention, or one layer's on one prompt where it is
captured whole; never attention of all layers. The constants were measured (docs/scale.md says how); a test compares
requests with what jobs of a study took. Time is an estimate for a slow core, or for a GPU of a data centre: a limit,
not a promise.

Imported by the Snakefile, so nothing heavy is imported here.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwise.models.shape import Shape
from headwise.study.data import Corpus
from headwise.study.extraction import Extraction
from headwise.study.models import Loading
from headwise.study.training import Dpo, Sft, Training

MB = 2**20
# Logits of texts that are read side by side, in float32, and a layer's attention on them: more texts are read one after
# another. Models as small as those of the default study stay below both.
LOGITS_BYTES, ATTENTION_BYTES = 128 * MB, 256 * MB
# Texts that are read at once where they are short enough: held-out excerpts of training, prompts of one length whose
# loss is measured with heads taken away, and such copies.
EVALUATION_BATCH, TEXTS_AT_ONCE, ABLATED_AT_ONCE = 16, 16, 8
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
QUANTIZED_BYTES = {"8bit": 1.0, "4bit": 0.6}
# Python, torch and transformers, with what they allocate for a model of no size.
LIBRARIES_MB = 650
# Work on rows of attention a few at a time, what compiles code for it, and the buffers of the files that are written.
WORKING_MB = 300
# Eager attention holds scores and weights of a layer at once, in float32; half as much again is for what lies between.
BYTES_PER_ENTRY = 12
STORED_BYTES_PER_ENTRY = 4
# In tiles: what is kept of every row of every head until a layer is done, and the mask that all heads share.
BYTES_PER_ROW_OF_TILES, BYTES_PER_ENTRY_OF_MASK = 128, 4
# Of a pair that a model is aligned with, what logits are made for.
RESPONSE_TOKENS = 32
# Noise in attention logits, drawn and scaled, beside the scores that it is added to.
NOISE_BYTES_PER_ENTRY = 12
# Logits, their logarithms of shares, and what lies between, in float32; of the last token alone, in float64, with sums.
LOGITS_COPIES, LAST_LOGITS_BYTES = 3, 48
# Vectors of the residual stream's width that a layer holds per token: states, queries, keys, values, feed-forward.
STATES_PER_TOKEN = 24
# Weights, gradients and both moments of Adam, in float32; DPO holds a frozen reference as well.
TRAINING_BYTES = 16
REFERENCE_BYTES = 4
# Below this a GPU saves nothing that a cluster would notice.
LARGE = 1_000_000_000
GPU_BYTES = 72 * 10**9  # of a GPU of 80 GB, what weights may fill
# Operations per second, on one core and on a GPU, both well below what a good one does.
CORE_FLOPS, GPU_FLOPS = 5e9, 2e13
# Seconds per entry of attention and, in comparisons of pairs entry by entry, per entry and pair; on one core.
SECONDS_PER_ENTRY, SECONDS_PER_PAIR_ENTRY = 2e-7, 2e-8
GPU_SPEEDUP = 20
STARTING_SECONDS = 60
# What a loop of small steps costs however small the model is.
SECONDS_PER_STEP = 0.2
# Cutting text into tokens; reading a small checkpoint.
SECONDS_PER_BYTE, SECONDS_PER_MODEL = 1e-6, 2
READING_BYTES_PER_SECOND, FETCHING_BYTES_PER_SECOND = 1e8, 1e7
FEWEST_MINUTES = 10
STANDARD_LIBRARY_BYTES = 4_000_000  # 2.4 MB with Python 3.11
PACKAGES_BYTES = 14_000_000  # 12 MB of pinned versions
UNKNOWN_ROWS, BYTES_PER_ROW = 1_000_000, 2_500  # C4 has 2.2 kB per row


@dataclass(frozen=True)
class Needs:
    """What a job asks for. gpus is 0 where none is needed."""

    memory_mb: int
    minutes: int
    gpus: int = 0


def extraction_needs(
    shape: Shape, extraction: Extraction, loading: Loading, prompts: int, pair_statistics: Sequence[str]
) -> Needs:
    """For one forward pass per prompt, each layer's attention reduced and, where the study says so, stored."""
    tokens = extraction.max_tokens
    entries = shape.heads * tokens**2
    if shape.whole_attention:
        attention = entries * BYTES_PER_ENTRY
    else:
        attention = shape.heads * tokens * BYTES_PER_ROW_OF_TILES + tokens**2 * BYTES_PER_ENTRY_OF_MASK
    if extraction.store == "tensors":
        attention += entries * STORED_BYTES_PER_ENTRY
    states = tokens * shape.hidden * STATES_PER_TOKEN * 4
    weights = loaded_bytes(shape, extraction, loading)
    gpus = gpus_for(shape, extraction, loading, attention)
    operations = 2 * shape.parameters * tokens
    pair_entries = shape.heads * (shape.heads - 1) / 2 * tokens**2 if "js_divergence" in pair_statistics else 0
    statistics = shape.layers * (entries * SECONDS_PER_ENTRY + pair_entries * SECONDS_PER_PAIR_ENTRY)
    per_prompt = operations / GPU_FLOPS + statistics / GPU_SPEEDUP if gpus else operations / CORE_FLOPS + statistics
    reading = shape.stored_bytes / READING_BYTES_PER_SECOND * 2  # loaded, and read once more for its digest
    return Needs(
        memory_mb=_megabytes(weights + attention + states) + LIBRARIES_MB + WORKING_MB,
        minutes=_minutes(reading + prompts * per_prompt),
        gpus=gpus,
    )


def texts_at_once(heads: int, vocabulary: int, tokens: int) -> int:
    """How many texts of so many tokens are read side by side at most; one is read however much it takes."""
    logits, attention = 4 * tokens * vocabulary, BYTES_PER_ENTRY * heads * tokens**2
    return max(1, min(LOGITS_BYTES // logits, ATTENTION_BYTES // attention))


def loss_bytes(shape: Shape, texts: int, tokens: int) -> float:
    """The most memory that the loss on texts of that length takes, beside the weights, under noise or not."""
    entries = shape.heads * tokens**2 * (BYTES_PER_ENTRY + NOISE_BYTES_PER_ENTRY)
    of_each = tokens * (shape.vocabulary * 4 * LOGITS_COPIES + shape.hidden * STATES_PER_TOKEN * 4) + entries
    return of_each * min(texts, texts_at_once(shape.heads, shape.vocabulary, tokens))


def writing_bytes(shape: Shape, texts: int, tokens: int) -> float:
    """The most memory that writing takes, beside the weights: the logits of `texts` texts that grow up to `tokens`."""
    first = min(LOGITS_BYTES, texts * tokens * shape.vocabulary * 4)
    kept = texts * tokens * shape.layers * shape.hidden * 2 * 4  # keys and values
    return 2 * first + texts * shape.vocabulary * LAST_LOGITS_BYTES + kept


def perturbation_needs(each: Sequence[Needs], weights: float, text: float, further: float = 0) -> Needs:
    """For models that are measured one after another: what extraction needs of each, or what text that is read or
    written takes beside the weights.

    weights, text  bytes of one model's, and of what is computed of a text
    further        bytes of what is there at the same time, whatever is measured
    """
    reading = _megabytes(weights + text) + LIBRARIES_MB
    return Needs(
        memory_mb=max(reading, *(needs.memory_mb for needs in each)) + _megabytes(further),
        minutes=6 * sum(needs.minutes for needs in each),
        gpus=max(needs.gpus for needs in each),
    )


def twin_bytes(shape: Shape, extraction: Extraction) -> float:
    """What duplicating heads takes beside the model: it is read again, and duplicated, by a twin that is then saved."""
    twin = shape.parameters + 2 * shape.layers * shape.hidden**2  # at most: with a head of its own for every query
    return shape.stored_bytes + twin * BYTES[extraction.dtype]


def loaded_bytes(shape: Shape, extraction: Extraction, loading: Loading) -> int:
    """The most memory that loading the weights takes: themselves, and the files where they are converted."""
    weights = shape.parameters * BYTES[extraction.dtype]
    # Of the type that they are stored in, weights are the mapped file itself; headers make files a little larger.
    converted = abs(shape.stored_bytes - weights) > 0.05 * weights or loading.quantization is not None
    return weights + (shape.stored_bytes if converted else 0)


def gpus_for(shape: Shape, extraction: Extraction, loading: Loading, attention: float = 0) -> int:
    """How many GPUs forward passes are given: none on `device: cpu`, and with `auto` only what is large gets one.

    Weights are spread over several where the model says `device_map: auto`, counted in GPUs of 80 GB.
    """
    wanted = extraction.device == "cuda" or loading.quantization is not None or shape.parameters >= LARGE
    if extraction.device == "cpu" or not wanted:
        return 0
    if loading.device_map is None:
        return 1
    width = QUANTIZED_BYTES[loading.quantization] if loading.quantization else BYTES[extraction.dtype]
    return max(1, math.ceil((shape.parameters * width + attention) / GPU_BYTES))


def corpus_bytes(corpus: Corpus, files: Iterable[Path]) -> int:
    """The size of a corpus before it is built: of `files` where these are given, else what such documents come to."""
    if corpus.source == "text":
        return sum(path.stat().st_size for path in files)
    if corpus.source == "standard_library":
        return STANDARD_LIBRARY_BYTES
    if corpus.source == "packages":
        return PACKAGES_BYTES
    return (corpus.rows or UNKNOWN_ROWS) * BYTES_PER_ROW


def training_needs(shape: Shape, training: Training, corpus_bytes: int) -> Needs:
    """For training from scratch, and the loss on held-out excerpts."""
    tokens = training.batch * training.tokens
    weights = shape.parameters * TRAINING_BYTES
    gpus = 1 if training.device == "cuda" else 0
    operations = 6 * shape.parameters * tokens
    step = operations / GPU_FLOPS if gpus else SECONDS_PER_STEP + operations / CORE_FLOPS
    steps = max(
        _activations(shape, training.batch, training.tokens, training.tokens),
        loss_bytes(shape, EVALUATION_BATCH, training.tokens),
    )
    return Needs(
        memory_mb=_megabytes(weights + steps) + _corpus_mb(corpus_bytes) + LIBRARIES_MB,
        minutes=_minutes(training.steps * step),
        gpus=gpus,
    )


def alignment_needs(shape: Shape, settings: Sft | Dpo, tokens: int, corpus_bytes: int) -> Needs:
    """For alignment, of excerpts no longer than `tokens`; DPO runs two responses through two models."""
    pairs = isinstance(settings, Dpo)
    sequences = settings.batch * (2 if pairs else 1)
    weights = shape.parameters * (TRAINING_BYTES + (REFERENCE_BYTES if pairs else 0))
    operations = (8 if pairs else 6) * shape.parameters * sequences * tokens
    steps = max(_activations(shape, sequences, tokens, RESPONSE_TOKENS), loss_bytes(shape, EVALUATION_BATCH, tokens))
    return Needs(
        memory_mb=_megabytes(weights + steps) + _corpus_mb(corpus_bytes) + LIBRARIES_MB,
        minutes=_minutes(settings.steps * (SECONDS_PER_STEP + operations / CORE_FLOPS)),
    )


def held_out_needs(shapes: Sequence[Shape], trained: Sequence[Needs], tokens: int, corpus_bytes: int) -> Needs:
    """For so many tokens of held-out text through each of these models in turn, and counts of the text that they were
    trained on (`trained`: what training them asks for): no more memory than training takes, and its text read once."""
    operations = sum(2 * shape.parameters * tokens for shape in shapes)
    seconds = len(shapes) * SECONDS_PER_MODEL + operations / CORE_FLOPS + corpus_bytes * SECONDS_PER_BYTE
    return Needs(memory_mb=max(needs.memory_mb for needs in trained), minutes=_minutes(seconds))


def fetching_needs(shape: Shape | None) -> Needs:
    """For a download of weights on a slow line, and their digests; of a model about which nothing is known, a day."""
    if shape is None:
        return Needs(LIBRARIES_MB, 24 * 60)
    return Needs(LIBRARIES_MB, _minutes(shape.stored_bytes / FETCHING_BYTES_PER_SECOND))


def conversion_needs(shape: Shape) -> Needs:
    """For weights that are read, rearranged and written, in float32."""
    return Needs(LIBRARIES_MB + _megabytes(3 * 4 * shape.parameters), FEWEST_MINUTES)


def _activations(shape: Shape, sequences: int, tokens: int, targets: int) -> float:
    """Bytes that a backward pass keeps: states and attention of all layers, logits of the targets and their
    gradient."""
    states = shape.layers * tokens * (shape.hidden * STATES_PER_TOKEN + 2 * shape.heads * tokens)
    return 4 * sequences * (states + LOGITS_COPIES * targets * shape.vocabulary)


def _corpus_mb(size: int) -> int:
    """Documents as text, as they are read and split; their tokens take less."""
    return _megabytes(6 * size)


def _megabytes(size: float) -> int:
    return math.ceil(size / MB)


def _minutes(seconds: float) -> int:
    return max(FEWEST_MINUTES, math.ceil((STARTING_SECONDS + seconds) / 60))
