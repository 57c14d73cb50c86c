"""Every test and interval gives a defined result, or none with a reason, and a sentence, for data that say nothing."""

from dataclasses import fields

import numpy as np
import pytest

from headwise.analyses.noise.sensitivity import contrast
from headwise.analyses.stability.uncertainty import correlation_test, mean_correlation_test, refit_intervals
from headwise.statistics.decomposition import decompose
from headwise.statistics.effects import random_effects
from headwise.statistics.equivalence import equivalence
from headwise.statistics.intervals import (
    bootstrap_intervals,
    cluster_intervals,
    jackknife_intervals,
    t_interval,
    welch_interval,
)
from headwise.statistics.multiplicity import benjamini_hochberg, holm
from headwise.statistics.permutation import label_swap, sign_flip, two_sample
from headwise.statistics.roc import roc_area
from headwise.statistics.survival import kaplan_meier, restricted_mean, restricted_mean_difference

# A warning from deep inside a library is as bad as a silent NaN.
pytestmark = pytest.mark.filterwarnings("error")

RESAMPLES, LEVEL = 49, 0.05
BAD = {
    "constant": [2.0, 2.0, 2.0],
    "zero": [0.0, 0.0, 0.0],
    "ties": [1.0, 1.0, 2.0, 2.0],
    "one": [1.0],
    "one undefined": [np.nan],
    "undefined": [np.nan, np.nan, np.nan],
    "partly undefined": [1.0, np.nan, 2.0],
    "infinite": [np.inf, 1.0, -np.inf],
    "empty": [],
}


def generator():
    return np.random.default_rng(1)


def column(values):
    return np.array(values, dtype=np.float64).reshape(-1, 1)


def itself(means):
    return means


def pairs(values):
    finite = np.where(np.isfinite(values), values, np.nan)
    return (finite[:, None] + finite)[..., None]


def events(values, happened):
    return np.abs(np.array(values)), [happened] * len(values)


def levels(values):
    return {"factor": [str(place % 2) for place in range(len(values))]}


PROCEDURES = {
    "sign_flip": lambda v: sign_flip(v, generator(), RESAMPLES),
    "label_swap": lambda v: label_swap(np.zeros((len(v), 1)), column(v), itself, generator(), RESAMPLES)[0],
    "label_swap of clusters": lambda v: label_swap(
        np.zeros((len(v), 1)), column(v), itself, generator(), RESAMPLES, clusters=["a"] * len(v)
    )[0],
    "two_sample": lambda v: two_sample(v, [1.0, 2.0], generator(), RESAMPLES),
    "two_sample of both": lambda v: two_sample(v, v, generator(), RESAMPLES),
    **{
        method: lambda v, method=method: bootstrap_intervals(
            column(v), itself, generator(), RESAMPLES, LEVEL, method=method
        )[0]
        for method in ("percentile", "bca", "studentised")
    },
    "cluster_intervals": lambda v: cluster_intervals(column(v), itself, generator(), RESAMPLES, LEVEL, ["a"] * len(v))[
        0
    ],
    "jackknife_intervals": lambda v: jackknife_intervals(column(v), itself, LEVEL)[0],
    "t_interval": lambda v: t_interval(v, LEVEL),
    "welch_interval": lambda v: welch_interval(v, [1.0, 3.0], LEVEL),
    "welch_interval of both": lambda v: welch_interval(v, v, LEVEL),
    "equivalence": lambda v: equivalence(v, 0.1),
    "equivalence of clusters": lambda v: equivalence(v, 0.1, ["a"] * len(v)),
    "random_effects": lambda v: random_effects(v, [1.0] * len(v), LEVEL),
    "random_effects without errors": lambda v: random_effects(v, [np.nan] * len(v), LEVEL),
    "roc_area": lambda v: roc_area(v, [1.0, 2.0], generator(), RESAMPLES, LEVEL),
    "roc_area by bootstrap": lambda v: roc_area(v, v, generator(), RESAMPLES, LEVEL, "bootstrap"),
    **{
        f"restricted_mean, {happened}": lambda v, happened=happened: restricted_mean(*events(v, happened), 2.0, LEVEL)
        for happened in (True, False)
    },
    "restricted_mean_difference": lambda v: restricted_mean_difference(
        events(v, True), ([1.0, 2.0], [True, False]), 2.0, generator(), RESAMPLES, LEVEL
    ),
    "decompose": lambda v: decompose(v, levels(v), generator(), RESAMPLES, LEVEL).explained,
    "share": lambda v: decompose(v, levels(v), generator(), RESAMPLES, LEVEL).shares["factor"],
    "correlation_test": lambda v: correlation_test(v, np.arange(len(v)), generator(), RESAMPLES),
    "mean_correlation_test": lambda v: mean_correlation_test(
        np.array([v, v]), np.tile(np.arange(len(v), dtype=np.float64), (2, 1)), generator(), RESAMPLES
    ),
}
OF_REFITS = {"refit_intervals": lambda v: refit_intervals(pairs(v), itself, generator(), RESAMPLES, LEVEL)[0]}


@pytest.mark.parametrize("values", BAD.values(), ids=BAD)
@pytest.mark.parametrize("name", [*PROCEDURES, *OF_REFITS])
def test_a_result_is_defined_or_says_why_it_is_not(name, values):
    if name in OF_REFITS and not values:
        pytest.skip("a group has refits")
    result = (PROCEDURES | OF_REFITS)[name](values)
    numbers = {field.name: getattr(result, field.name) for field in fields(result)}
    assert all(value is None or not isinstance(value, float) or np.isfinite(value) for value in numbers.values())
    missing = [key for key in ("estimate", "p", "low") if key in numbers and numbers[key] is None]
    # Some results are intervals alone, and have no p at all.
    expected = [key for key in missing if key != "p" or "low" not in numbers or numbers["low"] is None]
    assert numbers["reason"] or not expected
    sentence = str(result)
    assert sentence.endswith(".")
    assert "nan" not in sentence.replace("finite", "")
    assert "None" not in sentence


@pytest.mark.parametrize("values", BAD.values(), ids=BAD)
def test_whole_decompositions_and_curves_are_sentences(values):
    assert str(decompose(values, levels(values), generator(), RESAMPLES, LEVEL)).endswith(".")
    for happened in (True, False):
        assert str(kaplan_meier(*events(values, happened), LEVEL)).endswith(".")


@pytest.mark.parametrize("values", BAD.values(), ids=BAD)
def test_ratios_of_sensitivity_are_defined_or_say_why_not(values):
    units = dict(enumerate(values))
    found = contrast(units, units, generator(), RESAMPLES, LEVEL)
    assert found.verdict
    assert found.log_low is None or np.isfinite(found.log_low)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_adjustment_of_nothing(adjust):
    assert adjust([]).tests == 0
    undefined = adjust([None, np.nan])
    assert (undefined.tests, undefined.rejected.any()) == (0, False)
    assert str(undefined) == f"0 of 0 tests significant at 0.05 ({undefined.method}; 2 undefined, left out)."
    tied = adjust([0.04, 0.04])
    assert tied.p[0] == tied.p[1]


def test_equal_effects_have_nothing_between_families():
    found = random_effects([2.0, 2.0, 2.0], [1.0, 1.0, 1.0], LEVEL)
    assert (found.estimate, found.tau, found.i_squared) == (2.0, 0.0, 0.0)
    assert found.high - found.estimate == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
