"""What extraction takes on prompts of 128, 1,024 and 4,096 tokens, beside what the workflow would request for it.

    python benchmarks/extraction.py

A Llama with random weights in the shape of GPT-2 small (134 million parameters) is saved to a temporary folder, and one
prompt of each length extracted as the rule does it, with `store: statistics` and one thread, in a process of its own.
Of several runs the shortest time and the highest memory are shown. Linux.
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
SHAPE = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12}


def save_llama(folder: Path) -> Path:
    config = LlamaConfig(**SHAPE, vocab_size=32000, max_position_embeddings=max(TOKENS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return save_checkpoint(LlamaForCausalLM(config), folder)


def extract(checkpoint: Path, tokens: int, settings: Extraction, statistics: tuple[str, ...]) -> None:
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


def best(checkpoint: Path, tokens: int, settings: Extraction, statistics: tuple[str, ...], runs: int) -> Cost:
    costs = [cost_of(lambda: extract(checkpoint, tokens, settings, statistics)) for _ in range(runs)]
    return min(costs, key=lambda cost: cost.seconds)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=3, help="runs of prompts up to 1,024 tokens; longer ones run once")
    chosen = options.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(
        "| tokens | seconds | of processor | with js_divergence | of processor | peak MB | requested MB |\n"
        + "|---" * 7
        + "|"
    )
    with TemporaryDirectory() as folder:
        checkpoint = save_llama(Path(folder))
        torch.set_num_threads(1)  # as extraction does, and before it forks
        for tokens in TOKENS:
            settings = Extraction(device="cpu", store="statistics", max_tokens=tokens)
            runs = chosen.runs if tokens <= 1024 else 1
            without = best(checkpoint, tokens, settings, STATISTICS, runs)
            cost = best(checkpoint, tokens, settings, (*STATISTICS, "js_divergence"), runs)
            needs = extraction_needs(shape_of_folder(checkpoint), settings, Loading(), 1, STATISTICS)
            peak = max(without.peak_bytes, cost.peak_bytes) / 2**20
            times = [f"{seconds:.1f}" for each in (without, cost) for seconds in (each.seconds, each.processor_seconds)]
            print("|", " | ".join([f"{tokens:,}", *times, f"{peak:.0f}", str(needs.memory_mb)]), "|", flush=True)


if __name__ == "__main__":
    main()
