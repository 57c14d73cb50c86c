"""Stability of heads against the loops that published it: same data, same process, results compared.

    python benchmarks/stability.py              # everything; some minutes
    python benchmarks/stability.py --part heads --part residual

The published code (Bali et al. 2026) compares one pair of heads on one prompt at a time, and builds both kernel
matrices anew for every pair of refits. Its loops are written out here from their definition. A part of them that would
take hours is timed on fewer prompts or pairs, each of which costs the same, and multiplied; the table says so.
"""

import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer

from headwise.analyses.stability.cka import LINEAR_DEBIASED, RBF_BIASED, cka, rbf_cka
from headwise.analyses.stability.compare import compare_refits
from headwise.analyses.stability.cosines import MEASURES, SAME, WHOLE, CosineSums, View
from headwise.analyses.stability.group import GroupFiles
from headwise.analyses.stability.heads import published_stability
from headwise.analyses.stability.probe import Probes, probe_refits, write_attention
from headwise.analyses.stability.settings import Stability
from headwise.analyses.stability.summarize import summarize_stability
from headwise.models.corpus import build_corpus
from headwise.models.encoding import encode
from headwise.models.limits import Limits
from headwise.models.tokenizer import load_tokenizer, train_tokenizer
from headwise.models.zoo import build_decoder
from headwise.study.comparison import Comparison
from headwise.study.data import Corpus, Tokenizer
from headwise.study.extraction import Extraction
from headwise.study.models import Loading
from headwise.study.prompts import read_prompts
from headwise.study.reading import Reading
from headwise.study.training import Decoder

LAYERS, HEADS, REFITS, PROMPTS, TOKENS = 8, 8, 5, 100, 52
EXAMPLES, FEATURES = 5000, 512
MOST_REFITS = 50
LARGEST_DIFFERENCE = 1e-5

Part = Literal["heads", "growth", "residual", "stage"]


def random_attention(refits: int, prompts: int, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    """Packed causal attention of every prompt: float16 (layers, refits, heads, entries)."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(prompts):
        weights = np.tril(rng.gamma(0.5, size=(LAYERS, refits, HEADS, TOKENS, TOKENS)) + 1e-3)
        weights /= weights.sum(-1, keepdims=True)
        found.append(weights[..., *np.tril_indices(TOKENS)].astype(np.float16))
    return found


def square(packed: np.ndarray[Any, Any]) -> torch.Tensor:
    """Packed attention as square float32 matrices, as the published loops hold it."""
    weights = torch.zeros(*packed.shape[:-1], TOKENS, TOKENS)
    weights[..., *torch.tril_indices(TOKENS, TOKENS)] = torch.from_numpy(packed).float()
    return weights


def loops(squares: list[torch.Tensor], across_layers: bool) -> torch.Tensor:
    """Cosines of the anchor's heads, one pair and prompt at a time: (layers, heads, refits, layers, heads), mean."""
    cosine = torch.nn.CosineSimilarity(dim=1, eps=1e-8)
    layers, refits, heads = squares[0].shape[:3]
    found = torch.zeros(layers, heads, refits, layers, heads, dtype=torch.float64)

    def lower(matrix: torch.Tensor) -> torch.Tensor:
        return torch.tril(matrix)[torch.tril(torch.ones_like(matrix)).bool()]

    for prompt in squares:
        for layer in range(layers):
            for head in range(heads):
                anchor = lower(prompt[layer, 0, head])[None]
                for other_layer in range(layers) if across_layers else [layer]:
                    for refit in range(refits):
                        for other in range(heads):
                            value = cosine(anchor, lower(prompt[other_layer, refit, other])[None])
                            found[layer, head, refit, other_layer, other] += value.item() / len(squares)
    return found


def shape(refits: int) -> Any:
    """What the sums need to know of the files of refits."""
    layers = tuple(range(LAYERS))
    return SimpleNamespace(
        support="causal", layers=layers, heads=HEADS, entries=lambda tokens: tokens * (tokens + 1) // 2
    )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of a call on one thread, and what it returns."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def report(what: str, seconds: float, remark: str = "") -> None:
    """A line of the table."""
    print(f"{what:<72}{seconds:>10.2f} s  {remark}", flush=True)


def summed(views: list[View], attention: list[np.ndarray[Any, Any]], everything: bool) -> CosineSums:
    """Our sums over all prompts."""
    sums = CosineSums(views, shape(REFITS), attention[0].shape[1], chance=everything, across_layers=everything)
    for packed in attention:
        sums.add(packed, dict.fromkeys(views, TOKENS))
    return sums


def heads() -> None:
    """Head stability as published, and everything that one pass of ours gives."""
    attention = random_attention(REFITS, PROMPTS)
    squares = [square(packed) for packed in attention]
    slow, expected = timed(lambda: loops(squares, across_layers=False))
    fast, sums = timed(lambda: summed([WHOLE], attention, everything=False))
    layer = np.arange(LAYERS)
    diagonal = expected.numpy()[layer, :, :, layer].transpose(2, 0, 1, 3)  # (refits, layers, heads, heads)
    published = diagonal[1:].max(-1).mean(0)
    difference = np.abs(published_stability(sums.means((WHOLE, SAME))) - published).max()
    assert difference < LARGEST_DIFFERENCE, difference
    report(f"published loops, same layer, {REFITS} refits, {PROMPTS} prompts", slow)
    report("ours, the same number (all pairs of refits)", fast, f"{slow / fast:.0f} × faster, {difference:.1e} apart")
    few = 2
    slow_across, _ = timed(lambda: loops(squares[:few], across_layers=True))
    slow_all = slow + slow_across * PROMPTS / few
    views = [View(measure) for measure in MEASURES]
    fast_all, _ = timed(lambda: summed(views, attention, everything=True))
    report(
        "published loops, same layer and across layers, one anchor", slow_all, f"across layers: {few} prompts, scaled"
    )
    report(
        "ours, all pairs, across layers, 3 measures, 3 chance levels", fast_all, f"{slow_all / fast_all:.0f} × faster"
    )


def growth() -> None:
    """Time against the number of pairs of refits."""
    views, few = [View(measure) for measure in MEASURES], 4
    for refits in (5, 10, 20, MOST_REFITS):
        attention = random_attention(refits, few)
        seconds, _ = timed(lambda attention=attention: summed(views, attention, everything=True))
        pairs = refits * (refits - 1) // 2
        whole = seconds * PROMPTS / few
        report(
            f"ours, {refits} refits ({pairs} pairs), {few} prompts",
            seconds,
            f"{whole:.0f} s for {PROMPTS} prompts, {1000 * whole / pairs:.0f} ms a pair",
        )


def residual() -> None:
    """RBF-CKA as published, and all three estimates of ours."""
    rng = np.random.default_rng(1)
    common = rng.normal(size=(EXAMPLES, FEATURES))
    streams = [
        common @ rng.normal(size=(FEATURES, FEATURES)) / 16 + rng.normal(size=common.shape) for _ in range(REFITS)
    ]
    slow, value = timed(lambda: published_cka(streams[0], streams[1]))
    fast, values = timed(lambda: rbf_cka([stream - stream.mean(0) for stream in streams]))
    difference = abs(values[RBF_BIASED][0, 1] - value)
    assert difference < LARGEST_DIFFERENCE, difference
    all_pairs = slow * REFITS**2
    report(f"published RBF-CKA, {EXAMPLES} tokens, {FEATURES} units, one pair", slow)
    report(f"published RBF-CKA, {REFITS**2} ordered pairs of one layer", all_pairs, "one pair, scaled")
    report("ours, biased and debiased, all pairs", fast, f"{all_pairs / fast:.0f} × faster, {difference:.1e} apart")
    seconds, found = timed(lambda: cka(streams))
    report("ours, with debiased linear CKA as well", seconds, f"linear {found[LINEAR_DEBIASED][0, 1]:.3f}")


def published_cka(one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]) -> float:
    """Both kernel matrices of one pair, centred, and their normalised inner product."""
    kernels = []
    for stream in (one, two):
        products = stream @ stream.T
        lengths = np.diag(products)
        distances = -2 * products + lengths[:, None] + lengths[None, :]
        kernel = np.exp(-distances / (2 * np.median(distances)))
        kernel = (kernel + kernel.T) / 2
        assert np.allclose(kernel, kernel.T)
        means = kernel.mean(0)
        means -= means.mean() / 2
        kernels.append(kernel - means[:, None] - means[None, :])
    inner = kernels[0].ravel() @ kernels[1].ravel()
    return float(inner / (np.linalg.norm(kernels[0]) * np.linalg.norm(kernels[1])))


def stage() -> None:
    """The whole stage for 5 refits of a GPT-2 of 8 layers, 8 heads, width 512, with random weights."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_corpus(Corpus(), folder / "documents.jsonl", folder / "corpus.json")
        train_tokenizer(folder / "documents.jsonl", Tokenizer(vocabulary=4096), folder / "tokenizer")
        tokenizer = load_tokenizer(folder / "tokenizer")
        prompts = folder / "prompts.jsonl"
        lines = Path("prompts/headwise-120.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        prompts.write_text("".join(lines[:PROMPTS]), encoding="utf-8")
        texts = sorted(read_prompts(prompts), key=lambda prompt: prompt.id)
        encoded = encode(texts, tokenizer, Extraction(max_tokens=256), Limits())
        settings = Decoder(
            architecture="gpt2", layers=LAYERS, heads=HEADS, hidden=512, head_width=64, feed_forward=2048
        )
        metadata = {"study": "benchmark", "group": "refits", "refits": [f"seed {seed}" for seed in range(REFITS)]}
        checkpoints, tensors = [], []
        for seed in range(REFITS):
            model = build_decoder(settings, tokenizer, seed).eval()
            checkpoints.append(folder / f"seed{seed}")
            model.save_pretrained(checkpoints[-1])
            tokenizer.save_pretrained(checkpoints[-1])
            tensors.append(folder / f"seed{seed}.parquet")
            write_attention(model, encoded, tensors[-1], metadata, seed)
        stability = Stability(words=[5, 10, 20])
        random = [folder / f"random{number}.parquet" for number in range(stability.random_refits)]
        files = GroupFiles(*(folder / f"{table}.parquet" for table in GroupFiles.__dataclass_fields__))
        probes = Probes(
            beginnings=folder / "beginnings.parquet",
            similarities=folder / "similarities.parquet",
            random=random,
            **{table: getattr(files, table) for table in ("residual", "importance", "losses", "norms", "outputs")},
        )
        documents = folder / "documents.jsonl"
        refits = [Reading(path.name, path, Extraction(max_tokens=256), Loading()) for path in checkpoints]
        seconds, _ = timed(lambda: probe_refits(refits, prompts, probes, stability, metadata, documents))
        report(
            f"probe_refits, {REFITS} refits, {stability.residual_tokens} tokens, {PROMPTS} prompts", seconds, memory()
        )
        tables = {table: getattr(files, table) for table in ("pairs", "heads", "origins")}
        seconds, _ = timed(
            lambda: compare_refits(
                tensors,
                random,
                probes.beginnings,
                probes.similarities,
                **tables,
                settings=stability,
                metadata=metadata,
            )
        )
        report("compare_refits", seconds, memory())
        finished = {
            table: folder / f"finished-{table}.parquet"
            for table in ("stability", "stability_origins", "stability_head_map", "stability_quantities")
        }
        seconds, _ = timed(
            lambda: summarize_stability(
                {name: [path] for name, path in asdict(files).items()}, finished, stability, Comparison(), metadata
            )
        )
        report("summarize_stability", seconds, memory())


def memory() -> str:
    """The most memory that this process has held."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB at most so far"


PARTS: dict[str, Callable[[], None]] = {"heads": heads, "growth": growth, "residual": residual, "stage": stage}


def main(part: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(PARTS)}; default: all")] = None) -> None:
    """Measure on one thread and print a line per measurement, in seconds of processor time."""
    torch.set_num_threads(1)
    for name in part or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    typer.run(main)
