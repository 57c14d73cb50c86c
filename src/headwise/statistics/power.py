"""What a test can find: its power, and how many units it would need."""

from collections.abc import Callable, Sequence

import numpy as np

from headwise.statistics.arrays import FloatArray

POWER = 0.8
MOST_UNITS = 100_000


def pooled_deviation(samples: Sequence[FloatArray]) -> float:
    """Standard deviation of units within their samples, each (n,), n − 1 weighed; NaN for single units."""
    finite = [sample[np.isfinite(sample)] for sample in samples]
    freedom = sum(len(sample) - 1 for sample in finite)
    squares = sum(float(np.square(sample - sample.mean()).sum()) for sample in finite if len(sample))
    return float(np.sqrt(squares / freedom)) if freedom > 0 else float("nan")


def power_to_detect(effect: float, deviation: float, sizes: Sequence[int], level: float) -> float:
    """Probability that a two-sided t test finds an effect, within 0…1.

    effect     true mean, or difference of means
    deviation  standard deviation of the units
    sizes      units of the sample, or of both

    That of the noncentral t distribution (Cohen 1988), the side that the effect is not on left out. A permutation test
    has about this power where it can reject at all.
    """
    from scipy.stats import nct, t

    freedom = sum(sizes) - len(sizes)
    if effect == 0 or freedom < 1:
        return level / 2 if freedom >= 1 else 0.0
    if deviation == 0:
        return 1.0
    shift = abs(effect) / deviation / np.sqrt(sum(1 / size for size in sizes))
    return float(nct.sf(t.isf(level / 2, freedom), freedom, shift))


def units_to_detect(effect: float, deviation: float, level: float, samples: int = 1) -> int | None:
    """The fewest units, of each sample, with which `power_to_detect` reaches POWER.

    samples  1: against zero; 2: two samples of one size

    None where it takes more than MOST_UNITS, or the effect is 0.
    """
    if effect == 0:
        return None
    if deviation == 0:
        return 2
    return _fewest(lambda n: power_to_detect(effect, deviation, [n] * samples, level))


def units_for_equivalence(margin: float, deviation: float, level: float, samples: int = 1) -> int | None:
    """The fewest units, of each sample, with which two one-sided t tests show an effect of 0 to lie within ±margin.

    None where a power of POWER takes more than MOST_UNITS.

    The power is 2 T(margin / error − t) − 1 with Student's T (Chow, Shao & Wang 2008, section 3.2.2).
    """
    from scipy.stats import t

    if deviation == 0:
        return 2

    def power(n: int) -> float:
        freedom = samples * (n - 1)
        room = margin / deviation * np.sqrt(n / samples) - t.isf(level, freedom)
        return float(2 * t.cdf(room, freedom) - 1)

    return _fewest(power)


def _fewest(power: Callable[[int], float]) -> int | None:
    """By bisection: power rises with the number of units."""
    low, high = 1, 2
    while power(high) < POWER:
        low, high = high, 2 * high
        if high > MOST_UNITS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high
