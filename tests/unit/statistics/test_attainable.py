"""The smallest p of a design against the p of its most extreme data."""

import numpy as np
import pytest

from headwise.statistics.attainable import EXACT_UNITS, of_sign_flips, of_splits
from headwise.statistics.generators import generator_for
from headwise.statistics.permutation import sign_flip, two_sample

RESAMPLES = 99


@pytest.mark.parametrize("n", [1, 2, 3, 10, EXACT_UNITS + 1])
def test_no_signs_are_more_extreme_than_all_alike(n: int) -> None:
    found = sign_flip(np.arange(1, n + 1), generator_for("test"), RESAMPLES)
    assert of_sign_flips(n, RESAMPLES) == pytest.approx(found.p)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 3), (3, 3), (5, 5), (4, 6), (12, 12)])
def test_no_split_is_more_extreme_than_samples_apart(n: int, m: int) -> None:
    found = two_sample(np.arange(n) + 100, np.arange(m), generator_for("test"), RESAMPLES)
    assert of_splits(n, m, RESAMPLES) == pytest.approx(found.p)


def test_no_units_give_no_p_below_1() -> None:
    assert of_sign_flips(0, RESAMPLES) == 1
