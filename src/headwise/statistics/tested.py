"""A permutation test beside its interval, as the cells of a row."""

from typing import Any

from headwise.statistics.intervals import Interval
from headwise.statistics.permutation import PermutationTest
from headwise.statistics.result import joined


def cells_of(test: PermutationTest, interval: Interval) -> dict[str, Any]:
    """estimate, ci_low, ci_high, p, p_attainable, n, n_reference, test (how both were made) and reason."""
    return {
        "estimate": test.estimate,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": test.p,
        "p_attainable": test.p_attainable,
        "n": test.n,
        "n_reference": test.n_reference,
        "test": f"{test.method}; interval: {interval.method}",
        "reason": joined(test.reason, interval.reason),
    }
