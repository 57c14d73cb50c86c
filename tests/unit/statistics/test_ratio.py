"""Fieller's interval against its definition, and when a ratio has no bounds."""

import numpy as np
import pytest
import scipy.stats

from headwise.statistics.intervals import Interval, t_interval
from headwise.statistics.ratio import fieller, indistinguishable, unbounded_because

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
@pytest.mark.parametrize("other", [1e-300, 1.0, 1e300])
def test_the_ends_are_as_far_from_the_numerator_as_its_error_allows(scale, other):
    found = fieller((3.0 * scale, 0.4 * scale), (2.0 * other, 0.2 * other), 4, 0.05)
    if scale / other in (1e-300 / 1e300, 1e300 / 1e-300):
        assert found.estimate in (0.0, None)
        return
    factor = scipy.stats.t.ppf(0.975, 4)
    for end in (found.low, found.high):
        ratio = end * (other / scale)
        assert abs(3 - ratio * 2) == pytest.approx(factor * np.hypot(0.4, ratio * 0.2))


@pytest.mark.parametrize(
    ("denominator", "reason"),
    [
        ((0.0, 0.0), "the denominator is 0"),
        ((0.0, np.nan), "the denominator is 0"),
        ((1.0, np.inf), "an estimate or error is not finite"),
        (
            (1.0, 0.5),
            "unbounded: the denominator's 1 is indistinguishable from 0 (95 % interval -0.3882 to 2.388, n = 6)",
        ),
    ],
)
def test_a_ratio_without_bounds_says_why(denominator, reason):
    found = fieller((3.0, 0.1), denominator, 4, 0.05)
    assert (found.low, found.high, found.reason) == (None, None, reason)
    with pytest.raises(ValueError, match="0 degrees of freedom"):
        fieller((3.0, 0.1), (1.0, 0.1), 0, 0.05)


def test_a_ratio_is_unbounded_where_its_denominator_is_not_told_from_zero():
    assert indistinguishable(t_interval([1.0, 1.1, 1.2], 0.05), "it") is None
    assert indistinguishable(t_interval([-1.0, -1.1, -1.2], 0.05), "it") is None
    assert "it 0.1 is indistinguishable" in indistinguishable(t_interval([-1.0, 1.2], 0.05), "it")
    assert "no interval" in indistinguishable(Interval(1.0, None, None, 0.05, 1, "none"), "it")
    positive = [16.73, 156.96, 46.35]
    assert "indistinguishable" in unbounded_because(positive, 0.05)
    assert unbounded_because(positive, 0.05, "log") is None
    assert "indistinguishable" in unbounded_because([*positive, -200.0], 0.05, "log")
    assert "one unit" in unbounded_because([1.0, np.nan], 0.05, "log")
    assert "no interval" in unbounded_because([], 0.05, "log")
