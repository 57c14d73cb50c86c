"""Calibration: rates with their bands, and that a test which breaks its promise is caught and marked."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from report_examples import build_tables, example_study, write_inputs

from headwise.analyses.calibration import between, refits, within
from headwise.analyses.calibration.jobs import calibration_arguments
from headwise.analyses.calibration.rates import Rate, rate
from headwise.analyses.calibration.report.marks import marked
from headwise.analyses.calibration.report.part import calibration_chart, calibration_findings, passages
from headwise.analyses.calibration.settings import Calibration
from headwise.analyses.calibration.shape import Shape, shape_of, units_of
from headwise.analyses.calibration.within import swap_p
from headwise.analyses.specialization.report.views import comparisons_view
from headwise.analyses.specialization.settings import Specialization
from headwise.report.findings import findings
from headwise.report.labels import DAGGER, OUT_OF_BAND, marked_p
from headwise.report.parts import TABLES
from headwise.report.verdicts import in_words
from headwise.statistics.permutation import attainable_level
from headwise.statistics.procedures import Procedure
from headwise.tables.files import write_rows
from headwise.tables.frame import frame_of, records

SHAPE = Shape(domains=("a", "b", "c", "d", "e", "f") * 5, layers=3, heads=4, refits=6, families=6, pairs=2)
SETTINGS = Calibration(simulations=400, effects=[1.0], domain_correlations=[0.5])
WORDS = {"procedure": Procedure.PROMPTS, "quantity": "rejection", "scenario": "none", "units": "30 prompts"}


OVER_REFITS = (refits.pair_intervals, refits.layer_trends, refits.factor_orders)


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
    shape = shape_of({"code": 2, "history": 3}, units_of(example_study()))
    assert shape.domains == ("code", "code", "history", "history", "history")
    assert (shape.prompts, shape.refits, shape.families, shape.pairs) == (5, 3, 3, 6)


def test_other_estimators_and_budgets_calibrate_nothing_anew():
    study = example_study()
    specialization = study.section(Specialization).model_copy(update={"estimators": ["hellinger"]})
    training = study.training.model_copy(update={"steps": 7})
    changed = study.model_copy(update={"title": "Another", "specialization": specialization, "training": training})
    assert calibration_arguments(changed) == calibration_arguments(study)


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
    for check in (within.profile_tests, between.further_tests, *OVER_REFITS):
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
    shared = {"procedure": Procedure.PROMPTS, "scenario": "none", "units": "x", "simulations": 2000}
    broken = {
        "quantity": "rejection", "effect": 0.0, "found": 0.11, "expected": 0.05, "promise": "exactly",
        "band_low": 0.035, "band_high": 0.067, "kept": "no",
    }  # fmt: skip
    power = {"quantity": "power", "effect": 0.5, "found": 0.8, "promise": "none", "kept": "no promise"}
    return frame_of(Rate, [shared | broken | changes, shared | power])


def test_p_values_of_a_broken_procedure_are_marked():
    tests = pd.DataFrame(
        {"unit": ["prompt", "refit", "prompt"], "p": [0.01, 0.25, None], "verdict": ["below", "undecidable", "below"]}
    ).assign(reason=None)
    found = marked("comparisons", tests, calibration_table())
    assert found["verdict"].tolist() == ["below", "undecidable", "below"]
    assert found["out_of_band"].tolist() == [True, False, False]
    assert "rejects 11 % where it promises exactly 5 %" in found["reason"].iloc[0]
    assert [marked_p(row) for row in found.to_dict("records")] == [f"0.01 {DAGGER}", "0.25", "–"]
    pd.testing.assert_frame_equal(marked("comparisons", tests, calibration_table(kept="yes")), tests)


# A row of every table that has p-values, and the procedure behind each of them.
ROWS = [
    ("answers", {"procedure": "sign flip over refits"}, "p", Procedure.REFITS),
    ("effects", {"procedure": "two samples of refits"}, "p", Procedure.TWO_SAMPLES),
    ("comparisons", {"unit": "prompt"}, "p", Procedure.PROMPTS),
    ("comparisons", {"unit": "refit"}, "p", Procedure.REFITS),
    ("comparisons", {"unit": "prompt"}, "p_domains", Procedure.DOMAINS),
    ("comparisons", {"unit": "prompt"}, "p_equivalence", Procedure.EQUIVALENCE),
    ("comparisons", {"unit": "prompt", "role": "confirmatory"}, "p_adjusted", Procedure.CONFIRMATORY_SET),
    ("comparisons", {"unit": "prompt", "role": "exploratory"}, "p_adjusted", Procedure.BY_LAYER),
    ("contrasts", {"unit": "refit", "kind": "architecture"}, "p", Procedure.TWO_SAMPLES),
    ("contrasts", {"unit": "seed", "kind": "architecture_by_seed"}, "p", Procedure.REFITS),
    ("contrasts", {"unit": "refit", "kind": "alignment_difference"}, "p", Procedure.TWO_SAMPLES),
    ("contrasts", {"unit": "family", "kind": "alignment_pooled"}, "p", Procedure.FAMILIES),
    ("contrasts", {"unit": "family", "kind": "alignment_random_effects"}, "p", Procedure.RANDOM_EFFECTS),
    ("contrasts", {"unit": "family", "kind": "alignment_without_family"}, "p", Procedure.FAMILIES),
    ("factors", {}, "p", Procedure.FACTOR),
    ("noise_contrasts", {"procedure": "two samples of refits"}, "p", Procedure.TWO_SAMPLES),
    ("probe_discrimination", {"procedure": "ROC area"}, "p", Procedure.ROC_AREA),
    ("recursion_durations", {"procedure": "sign flip over refits"}, "p", Procedure.REFITS),
    ("recursion_durations", {"procedure": "two samples of refits"}, "p", Procedure.TWO_SAMPLES),
    ("stability", {"procedure": "correlation over layers"}, "p", Procedure.CORRELATION),
]


@pytest.mark.parametrize(("table", "row", "column", "procedure"), ROWS)
def test_a_broken_procedure_is_marked_wherever_its_p_value_is(table, row, column, procedure):
    tests = pd.DataFrame([{**row, column: 0.01, "reason": "few units"}])
    found = marked(table, tests, calibration_table(procedure=procedure))["reason"].iloc[0]
    assert found.startswith("few units; ")
    assert "out of its calibration band: it rejects 11 %" in found
    other = marked(table, tests, calibration_table(procedure=Procedure.MEAN_TIMES))
    assert other["reason"].iloc[0] == "few units"


@pytest.mark.parametrize(("verdict", "rests_on_equivalence"), [("below", False), ("preserved", True)])
def test_a_verdict_of_equivalence_rests_on_its_test(verdict, rests_on_equivalence):
    row = {"unit": "prompt", "p_equivalence": 0.01, "verdict": verdict, "reason": None}
    found = marked("comparisons", pd.DataFrame([row]), calibration_table(procedure=Procedure.EQUIVALENCE))
    assert found["out_of_band"].tolist() == [rests_on_equivalence]


def test_every_table_with_p_values_is_marked():
    tables = {name for name, columns in TABLES.items() if "p" in {column.name for column in columns}}
    assert tables == {table for table, *_ in ROWS}


def test_a_test_that_rejects_too_often_is_caught_and_marked_in_the_report(tmp_path, monkeypatch):
    """A label swap whose p-values are a third of what they should be, from its calibration to the page's finding."""

    def too_small(values, rng, clusters=None):
        return swap_p(values, rng, clusters) / (1 if clusters else 3)

    monkeypatch.setattr(within, "swap_p", too_small)
    rates = list(within.prompt_tests(SHAPE, SETTINGS, 0.05, generator()))
    assert [row.kept for row in rates[:2]] == ["no", "yes"]
    study = example_study()
    inputs = write_inputs(study, tmp_path, np.random.default_rng(1))
    path = tmp_path / "calibration.parquet"
    write_rows(Rate, rates, path, {"study": study.name})
    tables = build_tables(study, replace(inputs, analyses=[path]))
    tests = tables["comparisons"]
    over_prompts = tests["unit"].eq("prompt") & tests["p"].notna()
    assert tests.loc[over_prompts, "out_of_band"].all()
    assert not tests.loc[~over_prompts, "out_of_band"].any()
    said = [in_words(row).endswith(f"({OUT_OF_BAND})") for row in records(tests)]
    assert said == tests["out_of_band"].tolist()
    view = comparisons_view(study, tables, confirmatory=True)
    column = list(view.head).index("p")
    assert all(cell.endswith(DAGGER) for cell in (row[column] for row in view.rows))
    found = findings(study, tables)
    assert any("outside: label swap over prompts" in finding.numbers for finding in found)
    # On the page, the p of each such finding has a dagger as well.
    of_prompts = [finding.model_dump() for finding in found if finding.p is not None and finding.unit == "prompt"]
    assert all(DAGGER in marked_p(finding) for finding in of_prompts)


def test_the_report_names_what_is_outside_its_band():
    study, tables = example_study(), {"calibration": calibration_table()}
    (finding,) = calibration_findings(study, tables)
    assert finding.headline
    assert finding.sentence.startswith("0 of 1 rate")
    assert "outside: label swap over prompts (none): 11.0 %" in finding.numbers
    rates, power = passages(study, tables)
    assert "does not keep its promise" in rates.views[0][0].rows[0]
    assert power.views[0][0].rows[0][3] == "80.0 %"
    assert len(calibration_chart(study, tables)) == 1


def test_a_study_without_calibration_says_nothing():
    study, tables = example_study(), {"calibration": frame_of(Rate, [])}
    assert list(calibration_findings(study, tables)) == []
    assert list(passages(study, tables)) == []
    assert calibration_chart(study, tables) is None
