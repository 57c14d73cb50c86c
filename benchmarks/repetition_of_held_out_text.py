"""How often text that people wrote repeats itself: what thresholds of degradation are taken from.

Prints percentiles of distinct-2 and of the longest repeated span over excerpts of the default study's held-out text.
Run from the checkout, after `snakemake --cores 2 results/default/tokenizer`:

    python benchmarks/repetition_of_held_out_text.py
"""

from pathlib import Path

import numpy as np

from headwise.analyses.recursion.degradation import distinct, repeated_share
from headwise.models.excerpts import token_stream
from headwise.models.tokenizer import load_tokenizer

RESULTS = Path("results/default")


def main() -> None:
    tokenizer = load_tokenizer(RESULTS / "tokenizer")
    print("| tokens | excerpts | distinct-2, 1st percentile | median | repeated share, 99th percentile | median |")
    print("|---|---|---|---|---|---|")
    for length in (32, 64):
        stream = token_stream(RESULTS / "corpus" / "documents.jsonl", tokenizer, "held_out", length).tolist()
        excerpts = [stream[start : start + length] for start in range(0, len(stream) - length, length)]
        variety = np.array([distinct(excerpt, 2) for excerpt in excerpts], dtype=float)
        loops = np.array([repeated_share(excerpt) for excerpt in excerpts], dtype=float)
        low, middle = np.percentile(variety, [1, 50])
        high, usual = np.percentile(loops, [99, 50])
        print(f"| {length} | {len(excerpts)} | {low:.3f} | {middle:.3f} | {high:.3f} | {usual:.3f} |")


if __name__ == "__main__":
    main()
