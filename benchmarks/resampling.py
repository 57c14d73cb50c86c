"""Permutation tests and bootstrap intervals beside one vectorised NumPy pass over all resamples.

    python benchmarks/resampling.py [--resamples 100000] [--units 24 120 500] [--runs 5]

The passes hold all resamples at once and compute one number from each; headwise takes a part of them at a time, leaves
missing values out, and gives p-values with ties and intervals in words. Medians of processor time over runs in turns.
"""

import argparse
import statistics
from collections.abc import Callable

import numpy as np
from measure import processor_seconds

from headwise.statistics.arrays import FloatArray
from headwise.statistics.intervals import bootstrap_intervals
from headwise.statistics.permutation import sign_flip, two_sample

Pair = tuple[Callable[[], object], Callable[[], object]]


def generator() -> np.random.Generator:
    return np.random.default_rng(1)


def sign_flips(values: FloatArray, resamples: int) -> Pair:
    def one_pass() -> float:
        signs = 2.0 * generator().integers(0, 2, size=(resamples, len(values)), dtype=np.int8) - 1
        return float((np.abs(signs @ values) >= abs(values.sum())).mean())

    return one_pass, lambda: sign_flip(values, generator(), resamples)


def splits(values: FloatArray, resamples: int) -> Pair:
    half = len(values) // 2
    first, second = values[:half], values[half:]

    def one_pass() -> float:
        order = generator().permuted(np.tile(values, (resamples, 1)), axis=1)
        found = order[:, :half].mean(axis=1) - order[:, half:].mean(axis=1)
        return float((np.abs(found) >= abs(first.mean() - second.mean())).mean())

    return one_pass, lambda: two_sample(first, second, generator(), resamples)


def bootstrap(values: FloatArray, resamples: int) -> Pair:
    def one_pass() -> FloatArray:
        drawn = values[generator().integers(0, len(values), size=(resamples, len(values)))]
        return np.quantile(drawn.mean(axis=1), [0.025, 0.975])

    return one_pass, lambda: bootstrap_intervals(values[:, None], lambda means: means, generator(), resamples, 0.05)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--resamples", type=int, default=100_000)
    options.add_argument("--units", type=int, nargs="+", default=[24, 120, 500])
    options.add_argument("--runs", type=int, default=5)
    chosen = options.parse_args()
    print("| | units | one pass, s | headwise, s | ratio |\n" + "|---" * 5 + "|")
    for units in chosen.units:
        values = np.random.default_rng(0).normal(0.05, size=units)
        for name, pair in (("sign flips", sign_flips), ("two samples", splits), ("bootstrap, BCa", bootstrap)):
            works = pair(values, chosen.resamples)
            taken = zip(*([processor_seconds(work) for work in works] for _ in range(chosen.runs)), strict=True)
            plain, ours = (statistics.median(times) for times in taken)
            print(f"| {name} | {units} | {plain:.3f} | {ours:.3f} | {ours / plain:.2f} |")


if __name__ == "__main__":
    main()
