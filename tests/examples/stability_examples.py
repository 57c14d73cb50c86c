"""Refits with made-up attention, and the definitions of Bali et al. (2026) as plain loops."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from headwise.analyses.stability.cosines import RefitCosines, refit_cosines
from headwise.analyses.stability.packed import packed_attention
from headwise.attention.store import TensorWriter

Attention = dict[str, np.ndarray]  # prompt → (layers, heads, T, T)


def random_attention(seed: int, tokens: Mapping[str, int], layers: int = 2, heads: int = 3, causal: bool = True):
    """Attention as float16 holds it, rows from a Dirichlet distribution."""
    rng = np.random.default_rng(seed)
    refit = {}
    for prompt, length in tokens.items():
        weights = rng.gamma(0.5, size=(layers, heads, length, length)) + 1e-3
        weights = np.tril(weights) if causal else weights
        refit[prompt] = (weights / weights.sum(-1, keepdims=True)).astype(np.float16).astype(np.float64)
    return refit


def write_refit(path: Path, attention: Attention, causal: bool = True, **metadata) -> Path:
    """A tensor Parquet of the attention, as extraction writes it."""
    facts = {"study": "tiny", "tokens_digest": "t", **metadata}
    with TensorWriter.open(path, "causal" if causal else "full", facts) as writer:
        for prompt, layers in attention.items():
            for layer, weights in enumerate(layers):
                writer.add(prompt, layer, torch.from_numpy(weights).float())
    return path


def compare(paths: Sequence[Path], words: Mapping[int, Mapping[str, int]] | None = None, memory_mb: float = 512):
    """`refit_cosines` of files."""
    with ExitStack() as files:
        opened = [files.enter_context(packed_attention(path)) for path in paths]
        return refit_cosines(opened, words or {}, memory_mb)


def compare_attention(folder: Path, refits: Sequence[Attention], causal: bool = True, **options) -> RefitCosines:
    """`refit_cosines` of made-up attention."""
    paths = [write_refit(folder / f"refit{number}.parquet", refit, causal) for number, refit in enumerate(refits)]
    return compare(paths, **options)


def cosine(one: np.ndarray, two: np.ndarray, measure: str = "cosine", causal: bool = True) -> float:
    """Cosine of two square patterns, entry by entry."""
    vectors = [[], []]
    for vector, pattern in zip(vectors, (one, two), strict=True):
        for query, row in enumerate(pattern):
            keys = row[: query + 1] if causal else row
            for key, weight in enumerate(keys):
                if measure == "cosine_without_bos" and key == 0:
                    weight = 0.0
                vector.append(weight - keys.mean() if measure == "cosine_row_centred" else weight)
    x, y = map(np.array, vectors)
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))
