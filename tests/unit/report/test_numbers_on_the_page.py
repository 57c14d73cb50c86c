"""Numbers on the page and in the terminal: none says more, or something else, than it shows."""

import re
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import build_tables, example_study, write_inputs

from headwise.analyses.noise.report.findings import ratio_words
from headwise.analyses.noise.report.views import ratio_or_unbounded
from headwise.analyses.noise.sensitivity import contrast
from headwise.analyses.specialization.agreement import agreement_table
from headwise.cli import comparison_table, primary_sentence, terminal
from headwise.report.columns import Tables
from headwise.report.findings import findings
from headwise.report.labels import (
    interval,
    number,
    p_value,
    percent,
    relative_change,
    share,
    signed,
    up_to_one,
)
from headwise.report.models_part import models_view
from headwise.report.verdicts import DIRECTIONS, in_words, side, verdict
from headwise.study.comparison import Comparison
from headwise.tables.frame import records

STUDY = example_study(bases=("multi_head", "grouped_query"), methods=("sft", "dpo"), seeds=(1, 2))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return build_tables(STUDY, write_inputs(STUDY, tmp_path_factory.mktemp("inputs"), np.random.default_rng(5)))


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0496, "0.0496"),
        (0.0499996, "0.0499996"),
        (0.050004, "0.050004"),
        (0.05, "0.05"),
        (0.1 + 0.2 - 0.25, "0.05"),  # but for rounding
        (0.0099999, "0.0099999"),
        (0.99999, "0.99999"),
        (1 / 3, "0.333"),
        (0.03125, "0.0312"),
        (0.0, "< 0.0001"),
        (1, "1"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_a_p_is_not_rounded_to_a_level(p: float | None, text: str) -> None:
    assert p_value(p) == text


@given(st.floats(1e-4, 1), st.sampled_from([0.001, 0.005, 0.01, 0.025, 0.05, 0.1]))
def test_a_printed_p_lies_on_the_side_of_a_level_that_it_lies_on(p: float, level: float) -> None:
    shown = float(p_value(p))
    assert (shown <= level) == (p <= level) or abs(p - level) <= 2e-9 * level


@pytest.mark.parametrize(
    ("value", "plain", "change", "relative"),
    [
        (0.0, "0.000", "0.0000", "0.0 %"),
        (-0.0, "0.000", "0.0000", "0.0 %"),
        (-1e-17, "0.000", "0.0000", "0.0 %"),
        (3e-5, "3e−05", "+3e−05", "+0.003 %"),
        (-3e-5, "−3e−05", "−3e−05", "−0.003 %"),
        (-0.0004, "−0.0004", "−0.0004", "−0.04 %"),
        (0.0123, "0.012", "+0.0123", "+1.2 %"),
        (-12.5, "−12.500", "−12.5000", "< −1,000 %"),
        (3e9, "3000000000.000", "+3000000000.0000", "> +1,000 %"),
        (None, "–", "–", "–"),
        (float("nan"), "–", "–", "–"),
    ],
)
def test_no_number_is_rounded_to_another_sign(value: float | None, plain: str, change: str, relative: str) -> None:
    assert (number(value), signed(value), percent(value)) == (plain, change, relative)


@given(st.floats(-1, 1), st.floats(0, 1))
def test_a_printed_interval_holds_0_exactly_where_it_does(low: float, width: float) -> None:
    high = low + width
    ends = [float(end.replace("−", "-")) for end in interval(low, high).split(" to ")]
    assert (ends[0] <= 0 <= ends[1]) == (low <= 0 <= high) or min(abs(low), abs(high)) <= 1e-9


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 %"), (1e-9, "< 1 %"), (0.006, "1 %"), (0.5, "50 %"), (0.994, "99 %"), (0.9999, "> 99 %"), (1, "100 %")],
)
def test_a_share_is_none_or_all_only_where_it_is(value: float, text: str) -> None:
    assert share(value) == text
    assert share(value / 10, digits=1).startswith("< ") == (text == "< 1 %")
    assert share(None) == share(float("nan")) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1.00"), (-1.0, "−1.00"), (1 - 1e-12, "1.00"), (0.9979, "0.998"), (-0.99996, "−0.99996"), (0.5, "0.50")],
)
def test_only_a_whole_agreement_is_written_as_1(value: float, text: str) -> None:
    assert up_to_one(value) == text
    assert up_to_one(None) == "–"


def test_prompts_that_were_left_out_of_a_test_are_not_counted_into_it(tables: Tables) -> None:
    tests = tables["comparisons"].copy()
    assert "over 120 prompts;" in findings(STUDY, tables)[0].numbers
    chosen = tests["scope"].eq("refit") & tests["aligned"].eq("multi_head-sft")
    few = {**tables, "comparisons": tests.assign(n=tests["n"].mask(chosen, 117))}
    assert "over 117 to 120 prompts;" in findings(STUDY, few)[0].numbers


def test_a_change_relative_to_nothing_is_no_percentage() -> None:
    assert relative_change({"base_value": 1e-12, "delta_relative": 5e9}) == "–"
    assert relative_change({"base_value": None, "delta_relative": 0.1}) == "–"
    assert relative_change({"base_value": 0.5, "delta_relative": 0.1}) == "+10.0 %"


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1))
def test_a_direction_is_that_of_the_whole_interval(estimate: float, low: float, width: float) -> None:
    found = side(estimate, low, low + width)
    assert found == (1 if low > 0 < estimate else -1 if low + width < 0 and estimate < 0 else 0)
    assert side(None, low, low) == side(estimate, None, low) == side(estimate, low, float("nan")) == 0


DIRECTION = re.compile("decreased|increased|lower|higher|lies below|lies above")


NUMBERS = st.none() | st.sampled_from([0.0, -0.0, 0.01, 0.05]) | st.floats(-1, 1)


@settings(max_examples=300, deadline=None)
@given(
    estimate=st.floats(-1, 1),
    low=NUMBERS,
    high=NUMBERS,
    p=st.floats(0, 1) | st.just(0.001),
    equivalence=NUMBERS,
    kind=st.sampled_from(list(DIRECTIONS)),
)
def test_a_verdict_names_a_direction_only_where_the_interval_shows_it(
    estimate: float, low: float | None, high: float | None, p: float, equivalence: float | None, kind: str
) -> None:
    test = {"role": "confirmatory", "estimate": estimate, "ci_low": low, "ci_high": high, "p_adjusted": p}
    test |= {"p_attainable": 0.001, "p_adjusted_attainable": 0.01, "reason": None}
    test |= {"p_equivalence_adjusted": equivalence, "equivalence_margin": 0.02}
    said = in_words(test | {"verdict": verdict(test, Comparison()), "kind": kind})
    below, above = (said.startswith(words) for words in DIRECTIONS[kind])
    holds = low is None or high is None or min(low, high) <= 0 <= max(low, high)
    assert not (holds and DIRECTION.search(said))
    assert below == (p <= 0.05 and not holds and max(low or 0, high or 0) < 0 and estimate < 0)
    assert above == (p <= 0.05 and not holds and min(low or 0, high or 0) > 0 and estimate > 0)


def test_sentences_count_directions_that_intervals_show(tables: Tables) -> None:
    tests = tables["comparisons"]
    chosen = tests["estimator"].eq("hellinger") & tests["sink"].eq("kept") & tests["level"].eq("model")
    sft = records(tests[chosen & tests["scope"].eq("refit") & tests["method"].eq("sft")])
    down = sum(row["p_adjusted"] <= 0.05 and row["ci_high"] < 0 for row in sft)
    assert down > 0
    wide = {**tables, "comparisons": tests.assign(ci_low=-1.0, ci_high=1.0)}
    for each, count in ((tables, down), (wide, 0)):
        (said,) = [finding.numbers for finding in findings(STUDY, each) if finding.id == "method:sft"]
        assert f"{count} of {len(sft)} tests show a decrease and 0 an increase" in said


def test_means_over_refits_leave_out_those_that_repeat_another(tables: Tables) -> None:
    models = tables["models"].copy()
    trained = models["model"].eq("multi_head")
    models.loc[trained, "held_out_loss_nats"] = [2.0, 5.0]
    models.loc[trained & models["seed"].eq(2), "repeats_seed"] = 1
    (row,) = [row for row in models_view(STUDY, {**tables, "models": models}).rows if row[0] == "multi head"]
    assert row[2] == "1"
    assert row[-2] == "2.00"


# --- the terminal ---


def compared(**changes: Any) -> dict[str, Any]:
    row = {"estimator": "hellinger", "sink": "kept", "base_value": 0.3, "aligned_value": 0.2, "delta_absolute": -0.1}
    row |= {"delta_relative": -1 / 3, "ci_low": -0.15, "ci_high": -0.05, "p": 0.0496, "p_attainable": 0.0002, "n": 9}
    return row | {"p_equivalence": 0.9, "equivalence_margin": 0.02, "reason": None} | changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "hellinger: decreased. It goes from 0.3000 to 0.2000, by -0.1000"),
        ({"ci_high": 0.01}, "hellinger: undecided: the test finds a change, the interval shows no direction."),
        ({"p": None, "p_attainable": None, "reason": "one prompt"}, "hellinger: not tested: one prompt. It goes"),
        ({"p": float("nan")}, "hellinger: not tested. It goes"),
        ({"p": 0.0499999}, "p = 0.0499999 with 0.0002 attainable"),
        ({"p": 0.0}, "p = < 0.0001 with"),
        ({"ci_low": None, "ci_high": None}, "(95% interval –, p = 0.0496"),
        ({"delta_absolute": float("nan"), "p": None}, "by – (95% interval"),
    ],
)
def test_the_terminal_says_what_the_report_says(changes: dict[str, Any], said: str) -> None:
    sentence = primary_sentence([compared(**changes)], Comparison())
    assert said in sentence
    assert "nan" not in sentence


def test_the_terminal_prints_no_nan_no_level_for_a_p_and_no_share_of_nothing() -> None:
    rows = [
        compared(),
        compared(base_value=0.0, delta_relative=None, p=float("nan"), ci_low=float("nan"), p_attainable=0),
    ]
    console = terminal()
    with console.capture() as captured:
        console.print(comparison_table(rows, "a against b"))
    first, second = [line.split() for line in captured.get().splitlines() if "hellinger" in line]
    assert first == ["hellinger", "kept", "0.300", "0.200", "-0.100", "-33.3", "-0.150", "-0.050", "0.0496", "0.0002"]
    assert second[2:] == ["0.000", "0.200", "-0.100", "–", "–", "-0.050", "–", "<", "0.0001"]


# --- ratios ---


def contrasted(group: list[float], reference: list[float]) -> dict[str, Any]:
    seeds = range(1, 4)
    areas = [dict(zip(seeds, values, strict=True)) for values in (group, reference)]
    found = contrast(*areas, np.random.default_rng(1), 199, 0.05)
    return {"kind": "architecture", "group": "a", "reference": "b", "reason": None, **asdict(found)}


@pytest.mark.parametrize(
    ("group", "reference", "words"),
    [
        ([2.0, 2.1, 1.9], [1.0, 1.05, 0.95], r"2.00 times as sensitive, interval \d\.\d\d to 2.\d\d, p = 0.1"),
        ([1.0, 1.4, 0.9], [1.0, 1.2, 0.8], r"1.09 times as sensitive, interval .*, not told from 1, p = "),
        ([1e4, 1e4, 1e4], [1.0, -1.0, 1e-3], r"^unbounded: the reference's .* is indistinguishable from 0"),
    ],
)
def test_a_ratio_says_whether_it_can_be_told_from_1_and_whether_it_has_bounds(
    group: list[float], reference: list[float], words: str
) -> None:
    row = contrasted(group, reference)
    assert re.search(words, ratio_words(row))
    unbounded = row["verdict"] == "unbounded"
    assert ("not told" not in ratio_words(row)) == (unbounded or row["geometric_low"] > 1)
    assert ratio_or_unbounded("ratio_of_means", row).endswith("(unbounded)") == unbounded


def test_a_ratio_without_units_is_said_to_have_none() -> None:
    assert ratio_words(contrasted([np.nan] * 3, [1.0, 1.2, 0.8])) == "undefined: no unit to compare"


def test_changes_that_differ_in_sign_by_rounding_alone_agree_in_no_direction() -> None:
    own = [("a", "kept"), ("b", "kept")]
    models = pd.DataFrame(
        [
            {"model": "m", "seed": 1, "estimator": name, "sink": sink, "scope": "model", "value": 0.5}
            for name, sink in own
        ]
    )
    changes = {("a", 1): 0.1, ("b", 1): 1e-15, ("a", 2): -1e-200, ("b", 2): -1e-200, ("a", 3): -0.1, ("b", 3): -0.2}
    tests = pd.DataFrame(
        [
            {"aligned": "m", "seed": seed, "estimator": name, "sink": "kept", "level": "model", "scope": "refit",
             "role": "exploratory", "delta_absolute": change}
            for (name, seed), change in changes.items()
        ]
    )  # fmt: skip
    (row,) = records(agreement_table(models, tests, {}, "a"))
    assert (row["changes_compared"], row["same_direction"]) == (3, 1)
