"""Adjusted p-values against hand computation and against the procedures as their authors state them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.statistics.multiplicity import benjamini_hochberg, holm

pytestmark = pytest.mark.filterwarnings("error")

P_VALUES = [0.01, 0.04, 0.03, 0.005]
lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_by_hand():
    # Holm: .005×4, .01×3, .03×2, then .04×1 raised to the one before it.
    assert holm(P_VALUES).p == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # Benjamini–Hochberg: .04×4/4, .03×4/3, .01×4/2, .005×4/1, each at most the one before it.
    assert benjamini_hochberg(P_VALUES).p == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert holm(P_VALUES).rejected.tolist() == [True, False, False, True]


@settings(deadline=None, max_examples=25)  # statsmodels collects garbage in every call
@given(lists, st.floats(0.01, 0.3))
def test_holm_rejects_as_the_step_down_procedure_does(values, level):
    expected = set()
    for step, index in enumerate(np.argsort(values, kind="stable")):
        if values[index] * (len(values) - step) > level:
            break
        expected.add(index)
    assert set(np.flatnonzero(holm(values, level).rejected)) == expected


@settings(deadline=None)
@given(lists, st.floats(0.01, 0.3))
def test_benjamini_hochberg_rejects_as_the_step_up_procedure_does(values, level):
    order = np.argsort(values, kind="stable")
    # The same product as in adjusted p-values, so that both sides round alike.
    passing = [step for step, index in enumerate(order, 1) if values[index] / (step / len(values)) <= level]
    expected = set(order[: max(passing, default=0)])
    assert set(np.flatnonzero(benjamini_hochberg(values, level).rejected)) == expected


def test_undefined_p_values_do_not_count_as_tests():
    adjusted = holm([0.01, np.nan, 0.04])
    assert adjusted.p[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(adjusted.p[1])
    assert (adjusted.tests, adjusted.rejected.tolist()) == (2, [True, False, True])
    assert holm([]).tests == holm([np.nan]).tests == 0


def test_refuses_what_is_no_p_value():
    with pytest.raises(ValueError, match=r"1\.5 is not a p-value"):
        holm([0.2, 1.5])


def test_prints_as_a_sentence():
    assert str(benjamini_hochberg([0.01, np.nan, 0.9])) == (
        "1 of 2 tests significant at 0.05 (Benjamini–Hochberg; 1 undefined, left out)."
    )
