"""Attention to test estimators on, with its statistics written plainly: pair by pair and row by row."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwise.runtime.parquet import write_table

METADATA = {
    "study": "example",
    "model": "base",
    "seed": 1,
    "weights_digest": "w1",
    "prompts_digest": "p",
    "tokens_digest": "t",
    "dtype": "float32",
    "template": "raw",
    "first_token": "tokenizer",
}
PAIR_STATISTICS = (
    "hellinger",
    "js_divergence",
    "pattern_correlation",
    "pattern_correlation_full",
    "output_cka",
)


def random_attention(rng, prompts=4, layers=3, heads=4, longest=9):
    """One causal attention tensor (layers, heads, T, T) per prompt, of different lengths; rows sum to 1."""
    sharpness = rng.uniform(0.3, 3, size=(layers, heads, 1, 1))
    found = []
    for _ in range(prompts):
        tokens = int(rng.integers(5, longest + 1))
        scores = sharpness * rng.normal(size=(layers, heads, tokens, tokens))
        weights = np.where(np.tri(tokens, dtype=bool), np.exp(scores), 0.0)
        found.append(weights / weights.sum(axis=-1, keepdims=True))
    return found


def random_writes(rng, attention, width=5):
    """One array of head outputs (layers, heads, T, width) per prompt."""
    return [rng.normal(size=(*each.shape[:3], width)) for each in attention]


def without_sink(attention):
    """Key 0 removed and rows renormalised; rows left with less than 1e-6 are NaN."""
    kept = attention.copy()
    kept[..., 0] = 0.0
    mass = kept.sum(axis=-1, keepdims=True)
    return np.where(mass < 1e-6, np.nan, kept / np.where(mass > 0, mass, 1.0))


def entropy(row):
    return float(-sum(p * np.log(p) for p in row if p > 0))


def hellinger(first, second):
    return 1 - float(np.sqrt(first * second).sum())


def js_divergence(first, second):
    middle = (first + second) / 2
    return (entropy(middle) - entropy(first) / 2 - entropy(second) / 2) / np.log(2)


def mean_of_rows(distance, first, second):
    rows = [q for q in range(1, len(first)) if np.isfinite(first[q]).all() and np.isfinite(second[q]).all()]
    return np.mean([distance(first[q], second[q]) for q in rows]) if rows else np.nan


def pearson(first, second):
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return np.nan
    first, second = first[both] - first[both].mean(), second[both] - second[both].mean()
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    return float(first @ second / scale) if scale > 1e-12 else np.nan


def debiased_cka(first, second):
    """Linear CKA with the unbiased HSIC of Song et al. 2012, equation 5."""

    def hsic(k, m):
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        ones = np.ones(n)
        return (
            np.trace(k @ m)
            + (ones @ k @ ones) * (ones @ m @ ones) / (n - 1) / (n - 2)
            - 2 * ones @ k @ m @ ones / (n - 2)
        )

    k, m = first @ first.T, second @ second.T
    return float(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)))


def pair_value(statistic, attention, writes, i, j, sink="kept"):
    """A pair statistic of heads i and j of (H, T, T) attention and (H, T, width) writes."""
    causal = np.tri(attention.shape[-1], dtype=bool)
    if sink == "dropped":
        attention, causal = attention[..., 1:], causal[:, 1:]
    if statistic == "hellinger":
        return mean_of_rows(hellinger, attention[i], attention[j])
    if statistic == "js_divergence":
        return mean_of_rows(js_divergence, attention[i], attention[j])
    if statistic == "pattern_correlation":
        return pearson(attention[i][causal], attention[j][causal])
    if statistic == "pattern_correlation_full":
        return pearson(attention[i].ravel(), attention[j].ravel())
    return debiased_cka(writes[i], writes[j])


def write_measured(folder: Path, attention, writes=None, metadata=None, statistics=PAIR_STATISTICS, prompts=None):
    """Write heads.parquet and pairs.parquet as extraction does; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata = METADATA | (metadata or {})
    writes = writes or random_writes(np.random.default_rng(0), attention)
    prompts = prompts or [f"prompt {number}" for number in range(len(attention))]
    head_rows, pair_rows = [], []
    for prompt, weights, outputs in zip(prompts, attention, writes, strict=True):
        layers, heads, tokens, _ = weights.shape
        for layer in range(layers):
            treated = {"kept": weights[layer], "dropped": without_sink(weights[layer])}
            for head in range(heads):
                for sink, each in treated.items():
                    rows = each[head]
                    counted = np.isfinite(rows).all(axis=-1)
                    entropies = [entropy(row) if used else np.nan for row, used in zip(rows, counted, strict=True)]
                    received = rows[counted].mean(axis=0) if counted.any() else np.zeros(tokens)
                    head_rows.append((prompt, layer, head, sink, tokens, int((~counted).sum()), entropies, received))
            for sink, each in treated.items():
                values = [
                    None
                    if statistic == "output_cka" and sink == "dropped"
                    else [
                        pair_value(statistic, each, outputs[layer], i, j, sink)
                        for i, j in combinations(range(heads), 2)
                    ]
                    for statistic in statistics
                ]
                pair_rows.append((prompt, layer, sink, tokens, heads, *values))
    floats = pa.list_(pa.float32())
    head_fields = [
        ("prompt", pa.string()),
        ("layer", pa.int16()),
        ("head", pa.int16()),
        ("sink", pa.string()),
    ]
    head_fields += [
        ("tokens", pa.int32()),
        ("rows_left_out", pa.int32()),
        ("row_entropy_nats", floats),
        ("received", floats),
    ]
    pair_fields = [
        ("prompt", pa.string()),
        ("layer", pa.int16()),
        ("sink", pa.string()),
        ("tokens", pa.int32()),
    ]
    pair_fields += [("heads", pa.int16()), *((statistic, floats) for statistic in statistics)]
    paths = folder / "heads.parquet", folder / "pairs.parquet"
    for rows, fields, path in ((head_rows, head_fields, paths[0]), (pair_rows, pair_fields, paths[1])):
        columns = [
            pa.array(values, type=kind) for values, (_, kind) in zip(zip(*rows, strict=True), fields, strict=True)
        ]
        write_table(pa.table(columns, names=[name for name, _ in fields]), path, metadata)
    return paths


def write_features(path: Path, values, prompts, metadata=None):
    """Write features.parquet from {(estimator, sink): (prompts, layers, units)}; returns its path."""
    columns = {name: [] for name in ("estimator", "sink", "prompt", "layer", "unit", "value")}
    for (name, sink), array in values.items():
        for (prompt, layer, unit), value in np.ndenumerate(array):
            for column, entry in zip(columns, (name, sink, prompts[prompt], layer, unit, value), strict=True):
                columns[column].append(entry)
    metadata = METADATA | {"tokens_per_prompt": [5] * len(prompts)} | (metadata or {})
    table = pa.table(columns | {key: pa.array(columns[key], pa.int16()) for key in ("layer", "unit")})
    write_table(table, path, metadata)
    return path


def write_prompts(path: Path, domains):
    """Write prompts.jsonl from {id: domain}; returns its path."""
    rows = [{"id": prompt, "domain": domain, "text": f"Text of {prompt}."} for prompt, domain in domains.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
