"""Attention of a language model by four ways of getting it, each followed by the same statistics.

    python benchmarks/peers.py [--environment build/peers] [--tokens 128 512 1024 2048] [--runs 5]

Eager attention with `output_attentions`, TransformerLens (`run_with_cache` of attention patterns alone), nnsight (a
trace that saves each layer's weights) and headwise, as ratios to the fused forward pass of the same model in the same
process: model, rounds and what memory means are those of `benchmarks/capture.py`. Statistics are those of single
heads, hellinger and pattern_correlation, by the same code for all; output_cka is left out, since weights alone do not
give it. The first call makes an environment of its own with the two libraries (about 2 GB).
"""

import argparse
import functools
import subprocess
import venv
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).resolve().parent.parent
PEERS = ("transformer-lens", "nnsight")
TOKENS = (128, 512, 1024, 2048)
NAMES = ("hellinger", "pattern_correlation")


def environment(folder: Path) -> Path:
    """The interpreter of an environment with headwise and its peers, made where it is not there."""
    interpreter = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [interpreter, "-m", "pip", "install", "--quiet", "--constraint", REPOSITORY / "constraints.txt"]
        subprocess.run([*install, "--editable", REPOSITORY, *PEERS], check=True)
        ready.touch()
    return interpreter


def measure(tokens: Sequence[int], runs: int) -> None:
    """Print the table and the largest differences. Runs in the environment with the peers."""
    import torch
    import transformers
    from capture import HEAD, nothing, peak_of, print_rows, prompt, random_gpt2, times

    from headwise.attention.layer_statistics import LayerStatistics, statistics_from
    from headwise.attention.layer_sums import LayerSums
    from headwise.attention.row_tiles import row_tiles
    from headwise.attention.statistics_capture import capturing_statistics

    Received = Callable[[Sequence[LayerStatistics]], object]
    Ask = Callable[[torch.Tensor, Received], object]

    def reduced(layers: Sequence[torch.Tensor]) -> list[LayerStatistics]:
        """The statistics of whole weights (1, heads, T, T), as those of tiles are computed."""
        sums = []
        for weights in layers:
            sums.append(LayerSums(weights.shape[-1], NAMES, causal=True))
            for first, tile in row_tiles(weights[0]):
                sums[-1].add(first, tile)
        return statistics_from(sums, "causal", None)

    def returning(longest: int) -> Ask:
        model = random_gpt2(tokens=longest)
        model.set_attn_implementation("eager")
        return lambda ids, receive: receive(reduced(model(ids, output_attentions=True).attentions))

    def transformer_lens(longest: int) -> Ask:
        from tokenizers import Tokenizer, models
        from transformer_lens.model_bridge import TransformerBridge

        words = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
        with TemporaryDirectory() as folder:
            random_gpt2(tokens=longest).save_pretrained(folder)
            of_words = transformers.PreTrainedTokenizerFast(tokenizer_object=words, bos_token="a", pad_token="a")
            of_words.save_pretrained(folder)
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            bridge = TransformerBridge.boot_transformers(folder, device="cpu", tokenizer=tokenizer)

        def ask(ids: torch.Tensor, receive: Received) -> object:
            _, cache = bridge.run_with_cache(ids, names_filter=lambda name: name.endswith("attn.hook_pattern"))
            return receive(reduced(list(cache.values())))

        return ask

    def nnsight(longest: int) -> Ask:
        import nnsight

        model = random_gpt2(tokens=longest)
        model.set_attn_implementation("eager")
        traced = nnsight.NNsight(model)

        def ask(ids: torch.Tensor, receive: Received) -> object:
            with traced.trace(ids):
                weights = nnsight.save([layer.attn.output[1] for layer in traced.transformer.h])
            return receive(reduced(weights))

        return ask

    def headwise(longest: int) -> Ask:
        model, layers = random_gpt2(tokens=longest), list[LayerStatistics]()
        prepared.enter_context(capturing_statistics(model, NAMES, lambda layer: layers.append(layer.statistics)))

        def ask(ids: torch.Tensor, receive: Received) -> object:
            layers.clear()
            model(ids)
            return receive(layers)

        return ask

    def plain(longest: int) -> Ask:
        model = random_gpt2(tokens=longest)
        model.set_attn_implementation("sdpa")
        return lambda ids, receive: model(ids)

    def worst(one: Sequence[LayerStatistics], other: Sequence[LayerStatistics]) -> float:
        """Largest difference of a statistic of a pair of heads, all keys."""
        return max(
            float((a.pairs["kept"][name] - b.pairs["kept"][name]).abs().max())
            for a, b in zip(one, other, strict=True)
            for name in NAMES
        )

    ways: dict[str, Callable[[int], Ask]] = {
        "fused forward": plain,
        "output_attentions": returning,
        f"TransformerLens {version('transformer-lens')}": transformer_lens,
        f"nnsight {version('nnsight')}": nnsight,
        "headwise": headwise,
    }
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    print(HEAD)
    with torch.inference_mode(), ExitStack() as prepared:
        asked = [way(max(tokens)) for way in ways.values()]
        for count in tokens:
            ids = prompt(count)
            works = [functools.partial(ask, ids, nothing) for ask in asked]
            taken = times(works, runs)
            peaks = [peak_of(work) for work in works]
            print_rows(count, list(ways), taken, peaks)
        found: list[list[LayerStatistics]] = []
        for ask in asked[1:]:
            ask(prompt(min(tokens)), lambda layers: found.append(list(layers)))
        for name, layers in zip(list(ways)[1:], found, strict=True):
            print(f"largest difference of {name} from output_attentions: {worst(found[0], layers):.0e}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--environment", type=Path, default=REPOSITORY / "build" / "peers")
    options.add_argument("--tokens", type=int, nargs="+", default=TOKENS)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--measure", action="store_true", help="in this environment, which has the peers")
    chosen = options.parse_args()
    if chosen.measure:
        measure(chosen.tokens, chosen.runs)
        return
    interpreter = environment(chosen.environment.resolve())
    arguments = ["--tokens", *map(str, chosen.tokens), "--runs", str(chosen.runs)]
    subprocess.run([interpreter, __file__, "--measure", *arguments], check=True)


if __name__ == "__main__":
    main()
