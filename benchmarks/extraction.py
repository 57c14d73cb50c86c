"""What extraction takes on prompts of 128, 1,024 and 4,096 tokens, beside what the workflow would request for it.

    python benchmarks/extraction.py
    python benchmarks/extraction.py --shape 7b --dtype bfloat16 --device cuda

A Llama with random weights is saved to a temporary folder, and one prompt of each length extracted as the rule does it,
with `store: statistics` and one thread, in a process of its own. Memory is the same every time; of several runs the
shortest time is shown. Linux.
"""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "unit"))

from attention_examples import random_words, save_checkpoint  # noqa: E402, found above
from measure import Cost, cost_of  # noqa: E402, found above

from headwise.attention.extract import extract_attention  # noqa: E402, keeps imports sorted
from headwise.models.resources import extraction_needs  # noqa: E402, keeps imports sorted
from headwise.models.shape import shape_of_folder  # noqa: E402, keeps imports sorted
from headwise.study.extraction import Extraction  # noqa: E402, keeps imports sorted
from headwise.study.models import Loading  # noqa: E402, keeps imports sorted

TOKENS = (128, 1024, 4096)
STATISTICS = ("hellinger", "pattern_correlation", "output_cka")
# GPT-2 small's layers, heads and width; those of Llama 2 7B.
SHAPES = {
    "small": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12},
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
}


def save_llama(shape: str, dtype: str, folder: Path) -> Path:
    config = LlamaConfig(**SHAPES[shape], vocab_size=32000, max_position_embeddings=max(TOKENS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype))
        model = LlamaForCausalLM(config)
        torch.set_default_dtype(before)
    return save_checkpoint(model, folder)


def extract(checkpoint: Path, tokens: int, settings: Extraction, statistics: tuple[str, ...]) -> int:
    """Extract one prompt; the peak of GPU memory in bytes, 0 on a CPU."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        prompt = {"id": "prompt", "domain": "none", "text": random_words(tokens, seed=0)}
        (place / "prompts.jsonl").write_text(json.dumps(prompt) + "\n", encoding="utf-8")
        extract_attention(
            checkpoint,
            place / "prompts.jsonl",
            tensors=None,
            heads=place / "heads.parquet",
            pairs=place / "pairs.parquet",
            descriptors=place / "descriptors.parquet",
            settings=settings,
            pair_statistics=statistics,
            seed=1,
            metadata={},
        )
    return torch.cuda.max_memory_allocated() if settings.device == "cuda" else 0


def best(checkpoint: Path, tokens: int, settings: Extraction, statistics: tuple[str, ...], runs: int) -> Cost:
    costs = [cost_of(lambda: extract(checkpoint, tokens, settings, statistics)) for _ in range(runs)]
    return min(costs, key=lambda cost: cost.seconds)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shape", choices=SHAPES, default="small")
    options.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--runs", type=int, default=3, help="runs of prompts up to 1,024 tokens; longer ones run once")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print("| tokens | seconds | with js_divergence | peak MB | requested MB | GPU peak MB |\n|---|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        checkpoint = save_llama(chosen.shape, chosen.dtype, Path(folder))
        for tokens in TOKENS:
            settings = Extraction(
                dtype=chosen.dtype, device=chosen.device, store="statistics", max_tokens=max(tokens, 128)
            )
            runs = chosen.runs if tokens <= 1024 else 1
            without = best(checkpoint, tokens, settings, STATISTICS, runs)
            cost = best(checkpoint, tokens, settings, (*STATISTICS, "js_divergence"), runs)
            needs = extraction_needs(shape_of_folder(checkpoint), settings, Loading(), 1, STATISTICS)
            peak = max(without.peak_bytes, cost.peak_bytes) / 2**20
            cells = (f"{tokens:,}", f"{without.seconds:.1f}", f"{cost.seconds:.1f}", f"{peak:.0f}", needs.memory_mb)
            print("|", " | ".join(map(str, cells)), f"| {max(without.result, cost.result) / 2**20:.0f} |", flush=True)


if __name__ == "__main__":
    main()
