"""What measuring attention costs beside the fused forward pass, in time and in memory.

    python benchmarks/capture.py

A GPT-2 with random weights, 6 layers of 8 heads, width 512, the vocabulary of GPT-2, float32, one thread, one prompt of
each length, all statistics: those of heads, descriptors, hellinger, pattern_correlation and output_cka, with key 0 and
without; js_divergence, which takes a logarithm per entry of each pair of heads, where the way says so. Times are
processor time, which other processes do not lengthen by making this one wait (they do so by using caches): medians over
rounds in which all ways take turns, as ratios to the forward pass under scaled_dot_product_attention in the same round.
Memory is what torch allocates at its peak, less what it is for that forward pass. Agreement is the largest difference
of a statistic from that of exact capture in float64, relative where it is above 0.01.
"""

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import transformers
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel
from transformers.utils import ModelOutput

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "unit"))

from attention_examples import peak_of  # noqa: E402, found above

from headwise.attention.capture import LayerAttention, capturing  # noqa: E402, keeps imports sorted
from headwise.attention.layer_statistics import LayerStatistics, statistics_of  # noqa: E402, keeps imports sorted
from headwise.attention.pair_statistics import PAIR_STATISTICS  # noqa: E402, keeps imports sorted
from headwise.attention.sinks import SINKS  # noqa: E402, keeps imports sorted
from headwise.attention.statistics_capture import CapturedStatistics, capturing_statistics  # noqa: E402, keeps imports sorted
from headwise.attention.store import Packing, TensorWriter  # noqa: E402, keeps imports sorted

TOKENS = (128, 512, 1024, 2048)
NAMES = ("hellinger", "pattern_correlation", "output_cka")
VOCABULARY = 50257
HEAD = "| tokens | way | seconds | ratio to fused | MB over fused |\n" + "|---" * 5 + "|"
# Statistics below this are compared absolutely.
SMALL = 0.01


def random_gpt2(layers: int = 6, heads: int = 8, width: int = 512, tokens: int = max(TOKENS)) -> PreTrainedModel:
    """Weights large enough that attention is not flat."""
    config = GPT2Config(vocab_size=VOCABULARY, n_layer=layers, n_head=heads, n_embd=width, n_positions=tokens)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "c_attn.weight" in name:
                parameter.mul_(4)
    model.config.use_cache = False
    return model


def prompt(tokens: int) -> Tensor:
    return torch.randint(VOCABULARY, (1, tokens), generator=torch.Generator().manual_seed(0))


# Prepares a model once, for many prompts.
Way = Callable[[PreTrainedModel], AbstractContextManager[object]]


@contextmanager
def fused(model: PreTrainedModel) -> Iterator[None]:
    model.set_attn_implementation("sdpa")
    yield


@contextmanager
def returned(model: PreTrainedModel) -> Iterator[None]:
    """All layers' weights returned, then reduced; without output_cka, which returned weights do not give."""

    def reduce(module: object, inputs: object, output: ModelOutput) -> None:
        for index, weights in enumerate(output.attentions):
            statistics_of(LayerAttention(index, weights[0], torch.empty(0), None, "causal"), NAMES[:2])

    model.set_attn_implementation("eager")
    model.config.output_attentions = True
    model.register_forward_hook(reduce)
    yield


def exact(model: PreTrainedModel) -> AbstractContextManager[object]:
    return capturing(model, lambda attention: nothing(statistics_of(attention, NAMES)))


def tiled(model: PreTrainedModel) -> AbstractContextManager[object]:
    return capturing_statistics(model, NAMES, nothing)


@contextmanager
def tiled_and_stored(model: PreTrainedModel) -> Iterator[None]:
    """As extraction with `store: tensors`, to a file in a temporary folder."""
    packing: dict[int, Packing] = {}
    prompts = map(str, count())
    name = ""

    def take_tile(layer: int, tokens: int, first: int, tile: Tensor) -> None:
        if first == 0:
            packing[layer] = Packing(len(tile), tokens, "causal")
        packing[layer].add(first, tile)

    with TemporaryDirectory() as folder, TensorWriter.open(Path(folder) / "tensors.parquet", "causal", {}) as writer:

        def receive(layer: CapturedStatistics) -> None:
            nonlocal name
            name = next(prompts) if layer.layer == 0 else name
            writer.add_packed(name, layer.layer, layer.statistics.tokens, packing.pop(layer.layer).packed)

        with capturing_statistics(model, NAMES, receive, take_tile):
            yield


def tiled_with_divergences(model: PreTrainedModel) -> AbstractContextManager[object]:
    return capturing_statistics(model, PAIR_STATISTICS, nothing)


def nothing(_: object) -> None:
    """Nothing is kept."""


WAYS: dict[str, Way] = {
    "fused forward": fused,
    "output_attentions, then reduced": returned,
    "exact capture": exact,
    "tiled capture": tiled,
    "tiled capture, tensors stored": tiled_and_stored,
    "tiled capture, js_divergence": tiled_with_divergences,
}


def times(works: Sequence[Callable[[], object]], runs: int) -> list[list[float]]:
    """Seconds of each work in each round; all works take turns within a round, and the first round does not count."""
    taken: list[list[float]] = [[] for _ in works]
    for run in range(runs + 1):
        for number, work in enumerate(works):
            start = time.process_time()
            work()
            if run:
                taken[number].append(time.process_time() - start)
    return taken


def print_rows(tokens: int, ways: Sequence[str], taken: Sequence[list[float]], peaks: Sequence[int]) -> None:
    """The lines below `HEAD` for one length; the first way is the fused forward pass."""
    for name, seconds, peak in zip(ways, taken, peaks, strict=True):
        ratio = statistics.median(mine / first for mine, first in zip(seconds, taken[0], strict=True))
        print(
            f"| {tokens:,} | {name} | {statistics.median(seconds):.3f} | {ratio:.2f} "
            f"| {(peak - peaks[0]) / 2**20:.0f} |",
            flush=True,
        )


def once(way: Way, tokens: int) -> None:
    """The first prompt of a model, with what is kept for the next ones."""
    model = random_gpt2(tokens=tokens)
    with way(model):
        model(prompt(tokens))


def worst_difference(model: PreTrainedModel, ids: Tensor) -> float:
    expected: list[LayerStatistics] = []
    found: list[LayerStatistics] = []
    with capturing(model, lambda attention: expected.append(statistics_of(attention, PAIR_STATISTICS))):
        model(input_ids=ids)
    with capturing_statistics(model, PAIR_STATISTICS, lambda layer: found.append(layer.statistics)):
        model(input_ids=ids)
    return max(
        float(((a - b).abs() / a.abs().clamp(min=SMALL)).nan_to_num(0).max())
        for one, other in zip(expected, found, strict=True)
        for a, b in zip(numbers(one), numbers(other), strict=True)
    )


def numbers(of_layer: LayerStatistics) -> list[Tensor]:
    found = [of_layer.descriptors]
    for sink in SINKS:
        heads = of_layer.heads[sink]
        found += [heads.row_entropy_nats, heads.received, *of_layer.pairs[sink].values()]
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=9, help="rounds up to 512 tokens; half as many beyond")
    options.add_argument("--tokens", type=int, nargs="+", default=TOKENS)
    options.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    chosen = options.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    ways = {name: way for name, way in WAYS.items() if name in (*chosen.ways, "fused forward")}
    print(HEAD)
    with torch.inference_mode(), ExitStack() as prepared:
        models = [random_gpt2(tokens=max(chosen.tokens)) for _ in ways]
        for model, way in zip(models, ways.values(), strict=True):
            prepared.enter_context(way(model))
        for tokens in chosen.tokens:
            works = [functools.partial(model, prompt(tokens)) for model in models]
            taken = times(works, chosen.runs if tokens <= 512 else (chosen.runs + 1) // 2)
            peaks = [peak_of(functools.partial(once, way, tokens)) for way in ways.values()]
            print_rows(tokens, list(ways), taken, peaks)
        other = random_gpt2(tokens=max(chosen.tokens))
        for tokens in chosen.tokens:
            print(f"largest difference at {tokens:,} tokens: {worst_difference(other, prompt(tokens)):.1e}", flush=True)


if __name__ == "__main__":
    main()
