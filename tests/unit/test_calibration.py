"""Calibration: rates with their bands, and that a test which breaks its promise is caught and marked."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from report_examples import example_study

from headwise.calibration import between, within
from headwise.calibration.rates import PROMPTS, Rate, attainable_level, rate
from headwise.calibration.shape import Shape, shape_of
from headwise.report.calibration.marks import MARK, marked, procedure_of
from headwise.report.calibration.part import calibration_chart, calibration_findings, passages
from headwise.report.tables import typed
from headwise.study.calibration import Calibration

SHAPE = Shape(domains=("a", "b", "c", "d", "e", "f") * 5, layers=3, heads=4, refits=6, families=6, pairs=2)
SETTINGS = Calibration(simulations=400, effects=[1.0], domain_correlations=[0.5])
WORDS = {"procedure": PROMPTS, "quantity": "rejection", "scenario": "none", "units": "30 prompts"}


def generator():
    return np.random.default_rng(40)


def a_rate(hits, expected, promise="exactly"):
    return rate(hits, expected, promise, **WORDS)


def test_the_band_is_the_exact_binomial_one():
    hits = np.arange(2000) < 100
    found = a_rate(hits, 0.05)
    low, high = scipy.stats.binom.interval(0.999, 2000, 0.05)
    assert (found.found, found.band_low, found.band_high) == (0.05, low / 2000, high / 2000)
    assert (found.kept, found.simulations) == ("yes", 2000)
    assert a_rate(np.arange(2000) < high + 1, 0.05).kept == "no"
    assert a_rate(np.arange(2000) < low - 1, 0.05).kept == "no"
    assert a_rate(np.arange(2000) < low - 1, 0.05, "at most").kept == "yes"
    assert a_rate(np.arange(2000) < high + 1, 0.05, "at least").kept == "yes"
    assert a_rate(np.arange(2000) < high + 1, 0.05, "none").kept == "no promise"


def test_simulations_without_a_result_do_not_count():
    found = a_rate([1.0, np.nan, 0.0], 0.05)
    assert (found.simulations, found.found) == (2, 0.5)
    nothing = a_rate([np.nan], 0.05)
    assert (nothing.found, nothing.kept) == (None, "no promise")
    assert nothing.reason == "the design is too small for the procedure"


@pytest.mark.parametrize(("smallest", "expected"), [(1 / 32, 1 / 32), (0.25, 0.0), (0.05, 0.05), (1 / 512, 25 / 512)])
def test_the_level_that_an_exact_test_can_reach(smallest, expected):
    assert attainable_level(smallest, 0.05) == pytest.approx(expected)


def test_the_shape_of_a_study():
    shape = shape_of(example_study(), {"code": 2, "history": 3})
    assert shape.domains == ("code", "code", "history", "history", "history")
    assert (shape.prompts, shape.refits, shape.families, shape.pairs) == (5, 3, 3, 6)


@pytest.mark.parametrize(
    "check",
    [
        *(within.prompt_tests, within.layer_tests, within.prompt_intervals, within.equivalence_tests),
        *(between.mean_tests, between.difference_tests, between.family_summaries, between.confirmatory_set),
    ],
)
def test_every_procedure_keeps_what_it_promises(check):
    settings = SETTINGS.model_copy(update={"simulations": 200}) if check is within.prompt_intervals else SETTINGS
    for found in check(SHAPE, settings, 0.05, generator()):
        assert found.kept != "no", found


def test_slow_procedures_keep_what_they_promise():
    few = SETTINGS.model_copy(update={"simulations": 120})
    for check in (within.profile_tests, between.further_tests):
        for found in check(SHAPE, few, 0.05, generator()):
            assert found.kept != "no", found


def test_domains_that_move_together_break_the_test_over_prompts_and_not_that_over_domains():
    rows = [row for row in within.prompt_tests(SHAPE, SETTINGS, 0.05, generator()) if "correlation" in row.scenario]
    prompts, domains = rows
    assert prompts.found > 0.2
    assert prompts.kept == "no promise"
    assert (domains.kept, domains.expected) == ("yes", 1 / 32)


def test_a_design_that_cannot_reject_has_no_power():
    small = Shape(("a", "b"), layers=2, heads=2, refits=3, families=1, pairs=1)
    rows = list(between.mean_tests(small, SETTINGS, 0.05, generator()))
    power = [row for row in rows if row.quantity == "power"]
    assert [row.found for row in power] == [None] * len(power)
    assert {row.reason for row in power} == {
        f"the smallest attainable p is {p}: the test cannot reject" for p in ("0.25", "1")
    }


def calibration_table(**changes):
    broken = Rate(PROMPTS, "rejection", "none", 0.0, "x", 2000, 0.11, 0.05, "exactly", 0.035, 0.067, "no", None)
    power = Rate(PROMPTS, "power", "none", 0.5, "x", 2000, 0.8, None, "none", None, None, "no promise", None)
    return typed("calibration", pd.DataFrame([asdict(broken) | changes, asdict(power)]))


def test_p_values_of_a_broken_procedure_are_marked():
    tests = pd.DataFrame(
        {"unit": ["prompt", "refit", "prompt"], "p": [0.01, 0.25, None], "verdict": ["decreased", "undecidable", "-"]}
    ).assign(reason=None)
    found = marked(tests, calibration_table())
    assert found["verdict"].tolist() == [f"decreased ({MARK})", "undecidable", "-"]
    assert "rejects 11 % where it promises exactly 5 %" in found["reason"].iloc[0]
    pd.testing.assert_frame_equal(marked(tests, calibration_table(kept="yes")), tests)


def test_every_kind_of_contrast_has_a_procedure():
    names = {
        procedure_of({"kind": kind, "unit": unit})
        for kind, unit in (
            ("architecture", "refit"),
            ("architecture_by_seed", "seed"),
            ("alignment_pooled", "family"),
            ("alignment_random_effects", "family"),
        )
    }
    assert len(names) == 4
    assert None not in names


def test_the_report_names_what_is_outside_its_band():
    study, tables = example_study(), {"calibration": calibration_table()}
    (finding,) = calibration_findings(study, tables)
    assert finding.headline
    assert finding.sentence.startswith("0 of 1 rate")
    assert "outside: label swap over prompts (none): 11.0 %" in finding.sentence
    rates, power = passages(study, tables)
    assert "does not keep its promise" in rates.views[0][0].rows[0]
    assert power.views[0][0].rows[0][3] == "80.0 %"
    assert calibration_chart(study, tables).to_dict()["vconcat"]


def test_a_study_without_calibration_says_nothing():
    study, tables = example_study(), {"calibration": typed("calibration", pd.DataFrame())}
    assert list(calibration_findings(study, tables)) == []
    assert list(passages(study, tables)) == []
    assert calibration_chart(study, tables) is None
