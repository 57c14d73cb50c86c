"""How often each test of noise, probe and recursion rejects where there is nothing to find.

2,000 simulations per row at a level of 5 %; prints the table of docs/noise-and-recursion.md. Run from the checkout:

    python benchmarks/noise_and_recursion_error_rates.py
"""

import sys
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from scipy.stats import binom

from headwise.analyses.noise.probe import best_of_cells
from headwise.analyses.noise.sensitivity import contrast
from headwise.analyses.recursion.degradation import onset
from headwise.analyses.recursion.summarize_chains import arm_difference, refit_means
from headwise.runtime.progress import track
from headwise.statistics.roc import roc_area
from headwise.statistics.survival import restricted_mean_difference
from headwise.study.comparison import Comparison

SIMULATIONS, LEVEL, RESAMPLES = 2000, 0.05, 199
Rejections = dict[str, bool]


def sensitivity(units: int) -> Callable[[np.random.Generator], Rejections]:
    """Areas of two models from one log-normal distribution."""

    def simulate(rng: np.random.Generator) -> Rejections:
        first, second = rng.lognormal(sigma=0.2, size=(2, units))
        found = contrast(dict(enumerate(first)), dict(enumerate(second)), rng, RESAMPLES, LEVEL)
        name = f"sensitivity, {units} + {units} refits"
        return {
            f"{name}: permutation test": found.p is not None and found.p <= LEVEL,
            f"{name}: Welch's interval of the ratio of geometric means": _excludes(
                found.geometric_low, found.geometric_high, 1
            ),
            f"{name}: interval of the log ratio of means": _excludes(found.log_low, found.log_high, 0),
        }

    return simulate


def discrimination(first: int, second: int) -> Callable[[np.random.Generator], Rejections]:
    """Responses of two groups of models from one normal distribution."""

    def simulate(rng: np.random.Generator) -> Rejections:
        found = roc_area(rng.normal(size=first), rng.normal(size=second), rng, RESAMPLES, LEVEL)
        name = f"probe, {first} + {second} models"
        return {
            f"{name}: permutation test of the ROC area": found.p is not None and found.p <= LEVEL,
            f"{name}: DeLong's interval": _excludes(found.low, found.high, 0.5),
        }

    return simulate


def recursion(refits: int, shared: float) -> Callable[[np.random.Generator], Rejections]:
    """Onsets of 6 chains of each refit of two arms; `shared`: deviation of the log odds between refits.

    As tested (units: refits), and as if chains were units.
    """

    def arm(rng: np.random.Generator) -> pd.DataFrame:
        seeds = np.repeat(np.arange(refits), 6)
        odds = rng.normal(scale=shared, size=refits)[seeds]
        states = rng.random((len(seeds), 10)) < 1 / (1 + np.exp(-odds[:, None]))
        found = [onset(list(chain), 10, 3) for chain in states]
        return pd.DataFrame({"seed": seeds, "generation": [t for t, _ in found], "happened": [h for _, h in found]})

    def simulate(rng: np.random.Generator) -> Rejections:
        one, other = arm(rng), arm(rng)
        tested = arm_difference(
            refit_means(one, 8, 0.05), refit_means(other, 8, 0.05), rng, Comparison(resamples=RESAMPLES)
        )
        chains = [(each["generation"].to_numpy(), each["happened"].to_numpy()) for each in (one, other)]
        naive = restricted_mean_difference(chains[0], chains[1], 8, rng, RESAMPLES, LEVEL)
        kind = f"that differ (log odds ± {shared:g})" if shared else "alike"
        name = f"recursion, {refits} + {refits} refits {kind}"
        return {
            f"{name}: sign-flip test over refits": tested.p is not None and tested.p <= LEVEL,
            f"{name}: Student's interval over refits": _excludes(tested.difference_low, tested.difference_high, 0),
            f"{name}: logrank test with chains as units (not used)": naive.p is not None and naive.p <= LEVEL,
        }

    return simulate


def selection(rng: np.random.Generator) -> Rejections:
    """Responses of 12 exchangeable models in 24 cells, split at random once."""
    found = best_of_cells(rng.normal(size=(12, 24)), 0, rng, 1, LEVEL)
    return {
        "selection, 6 + 6 models: a cell fixed beforehand": found.declared_rate == 1,
        "selection, 6 + 6 models: the best of 24 cells (demonstration)": found.best_rate == 1,
    }


def _excludes(low: float | None, high: float | None, null: float) -> bool:
    return low is not None and high is not None and not low <= null <= high


def rows() -> Iterator[str]:
    """One row per test: share of rejections."""
    experiments = [
        sensitivity(3), sensitivity(5), sensitivity(20), discrimination(24, 12), discrimination(6, 6),
        recursion(3, 0.0), recursion(3, 1.0), recursion(8, 1.0), selection,
    ]  # fmt: skip
    for number, simulate in enumerate(experiments):
        rng = np.random.default_rng(number)
        counts: dict[str, int] = {}
        for _ in track(range(SIMULATIONS), f"experiment {number + 1} of {len(experiments)}", SIMULATIONS):
            for name, rejected in simulate(rng).items():
                counts[name] = counts.get(name, 0) + rejected
        for name, count in counts.items():
            yield f"| {name} | {100 * count / SIMULATIONS:.1f} % |"


if __name__ == "__main__":
    low, high = binom.ppf([0.005, 0.995], SIMULATIONS, LEVEL) / SIMULATIONS
    print(
        f"<!-- A test that keeps its level lies within {100 * low:.1f} % and {100 * high:.1f} %, 99 times of 100. -->"
    )
    print("| test | rejections at 5 % |\n|---|---|")
    for line in rows():
        print(line)
        sys.stdout.flush()
