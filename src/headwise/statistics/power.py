"""How many units a test would need."""

from collections.abc import Callable

import numpy as np

POWER = 0.8
MOST_UNITS = 100_000


def units_to_detect(effect: float, deviation: float, level: float, samples: int = 1) -> int | None:
    """The fewest units, of each sample, with which a two-sided t test finds an effect with a power of POWER.

    effect     true mean, or difference of means
    deviation  standard deviation of the units
    samples    1: against zero; 2: two samples of one size

    None where it takes more than MOST_UNITS, or the effect is 0. The power is that of the noncentral t distribution
    (Cohen 1988), the side that the effect is not on left out.
    """
    from scipy.stats import nct, t

    if effect == 0:
        return None
    if deviation == 0:
        return 2

    def power(n: int) -> float:
        freedom = samples * (n - 1)
        shift = abs(effect) / deviation * np.sqrt(n / samples)
        return float(nct.sf(t.isf(level / 2, freedom), freedom, shift))

    return _fewest(power)


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
