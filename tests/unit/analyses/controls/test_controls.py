"""Controls fail where they should, and the panel reads what other analyses measured."""

import pandas as pd
import pytest
import torch
from report_examples import example_study

from headwise.analyses.controls import trained_model, written_attention
from headwise.analyses.controls.control import above, within
from headwise.analyses.controls.released import released_control
from headwise.analyses.controls.report.panel import control_panel
from headwise.analyses.controls.report.part import control_findings, passages
from headwise.analyses.controls.written_attention import written_attention_controls
from headwise.published.released import ReleasedIndex
from headwise.tables.files import write_rows


def test_a_number_far_from_the_known_one_fails():
    assert within("a", "b", "1", 1.0001, 1.0, 1e-3).outcome == "pass"
    assert within("a", "b", "1", 1.01, 1.0, 1e-3).outcome == "fail"
    assert within("a", "b", "1", float("nan"), 1.0, 1e-3).outcome == "fail"


def test_made_up_attention_has_its_known_values():
    found = list(written_attention_controls(["hellinger", "js_divergence", "pattern_correlation", "entropy_profile"]))
    assert {control.outcome for control in found} == {"pass"}
    assert len(found) == 3 + 3 + 2


def test_a_broken_statistic_fails(monkeypatch):
    true = written_attention.pair_statistics
    monkeypatch.setattr(
        written_attention, "pair_statistics", lambda *each: {name: value + 0.01 for name, value in true(*each).items()}
    )
    outcomes = {control.control: control.outcome for control in written_attention_controls(["hellinger"])}
    assert outcomes["cloned heads, hellinger"] == "fail"
    assert outcomes["heads that look at different keys, hellinger"] == "fail"


def test_weights_of_different_layers_differ_by_more_than_any_tolerance():
    weights = torch.zeros(1, 2, 2)
    assert trained_model.largest_difference({0: weights}, {0: weights}) == 0
    assert trained_model.largest_difference({0: weights}, {1: weights}) == float("inf")


def panel(**tables):
    rows = control_panel({name: pd.DataFrame(table) for name, table in tables.items()})
    return rows.set_index("control")


def test_what_a_study_does_not_measure_is_named_with_a_reason():
    rows = panel()
    assert set(rows["outcome"]) == {"not run"}
    assert rows["reason"].notna().all()
    assert "snakemake calibration" in rows.loc["data in which nothing is to be found", "reason"]


@pytest.mark.parametrize(("difference", "outcome"), [(1e-7, "pass"), (1e-2, "fail")])
def test_padding_is_read_from_the_variants(difference, outcome):
    rows = panel(
        confounds={
            "variant": ["left"],
            "estimator": ["hellinger"],
            "tolerance": [1e-5],
            "largest_absolute_difference": [difference],
        }
    )
    assert rows.loc["prompts padded left, right, or not at all", "outcome"] == outcome


@pytest.mark.parametrize(("difference", "outcome"), [(1e-6, "pass"), (0.3, "fail")])
def test_duplicated_heads_are_read_from_the_tables_of_noise(difference, outcome):
    rows = panel(
        key_value_duplication={
            "largest_relative_logit_difference": [difference],
            "largest_delta_nll_difference": [difference],
            "largest_delta_nll": [1.0],
        }
    )
    assert rows.loc["key-value heads duplicated: logits", "outcome"] == outcome
    assert rows.loc["key-value heads duplicated: response to noise", "outcome"] == outcome


@pytest.mark.parametrize(("kept", "outcome"), [("yes", "pass"), ("no", "fail")])
def test_false_rejections_are_read_from_the_calibration(kept, outcome):
    rows = panel(calibration={"kept": [kept, "no promise"]})
    assert rows.loc["data in which nothing is to be found", "outcome"] == outcome


@pytest.mark.parametrize(("corrected", "outcome"), [(0.02, "pass"), (0.4, "fail")])
def test_the_chance_level_is_read_from_the_stability_table(corrected, outcome):
    nothing = {key: [None] for key in ("layer", "head", "refit", "words")}
    rows = panel(
        stability={
            **nothing,
            "weights": ["random"],
            "analysis": ["head_stability"],
            "measure": ["cosine"],
            "chance_corrected": [corrected],
        }
    )
    assert rows.loc["stability of heads of random weights", "outcome"] == outcome


def test_a_bound_is_not_met_by_nothing():
    assert above("a", "b", 0.5, 0.6).outcome == "pass"
    assert above("a", "b", 0.5, 0.5).outcome == "fail"
    assert above("a", "b", 0.5, float("nan")).outcome == "fail"


@pytest.mark.parametrize(
    ("computed", "outcome"), [((0.5, 0.2), "pass"), ((0.5, 0.2 + 1e-9), "fail"), ((0.5, None), "fail")]
)
def test_released_indices_are_compared_with_those_of_their_matrices(tmp_path, computed, outcome):
    table = tmp_path / "indices.parquet"
    rows = [
        ReleasedIndex(file="a.json", place="x", printed=printed, computed=each)
        for printed, each in zip((0.5, 0.2), computed, strict=True)
    ]
    write_rows(ReleasedIndex, rows, table, {"folder": "some/release"})
    control = released_control(table)
    assert (control.outcome, control.tolerance, control.basis) == (outcome, 1e-12, "2 indices below release")


def test_a_study_without_released_files_says_how_to_name_them(tmp_path):
    assert "controls.released_results" in released_control(None).reason
    table = tmp_path / "indices.parquet"
    write_rows(ReleasedIndex, [], table, {"folder": "release"})
    nothing = released_control(table)
    assert nothing.outcome == "not run"
    assert "holds a printed index" in nothing.reason


def test_a_control_that_fails_is_on_the_first_screen():
    tables = {"controls": control_panel({"calibration": pd.DataFrame({"kept": ["no"]})})}
    (finding,) = control_findings(example_study(), tables)
    assert finding.headline
    assert "failed: data in which nothing is to be found" in finding.numbers
    (passage,) = passages(example_study(), tables)
    assert "fail" in passage.views[0][0].rows[3] + passage.views[0][0].rows[2]
