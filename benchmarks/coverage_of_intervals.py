"""How often intervals over refits of a mean over pairs of refits hold the truth.

    python benchmarks/coverage_of_intervals.py

The value of a pair is an effect of each of its refits, standard deviation 1, and one of the pair's own, 0.3. The truth
is 0. Printed are the shares of 1,000 simulated groups whose interval of nominal 95 % holds it.
"""

import numpy as np

from headwise.analyses.stability.uncertainty import pair_means
from headwise.statistics.intervals import Interval, bootstrap_intervals, jackknife_intervals

REFITS, GROUPS, RESAMPLES, LEVEL = (3, 5, 10, 20, 40), 1_000, 1_000, 0.05


def holds(interval: Interval) -> bool:
    return interval.low is not None and interval.high is not None and interval.low <= 0 <= interval.high


def main() -> None:
    print(f"{'refits':>6} {'percentile bootstrap':>20} {'t, jackknife error':>20}")
    for refits in REFITS:
        covered = np.zeros(2)
        for group in range(GROUPS):
            rng = np.random.default_rng([refits, group])
            effects, own = rng.normal(size=(refits, 1)), rng.normal(size=(refits, refits, 1)) * 0.3 / 2**0.5
            pairs = effects[:, None] + effects[None] + own + own.swapaxes(0, 1)
            units = np.eye(refits)

            def mean(drawn: np.ndarray, pairs: np.ndarray = pairs) -> np.ndarray:
                return pair_means(pairs, drawn)

            (resampled,) = bootstrap_intervals(units, mean, rng, RESAMPLES, LEVEL, method="percentile")
            (left_out,) = jackknife_intervals(units, mean, LEVEL)
            covered += holds(resampled), holds(left_out)
        print(f"{refits:>6} {covered[0] / GROUPS:>20.1%} {covered[1] / GROUPS:>20.1%}", flush=True)


if __name__ == "__main__":
    main()
