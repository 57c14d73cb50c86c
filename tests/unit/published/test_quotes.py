"""Slopes and ratios that are quoted without their curves, and marks that data are not verified."""

import json

import numpy as np
import pytest
import scipy.stats
from published_examples import written

from headwise.published.findings import findings
from headwise.published.reanalyse import reanalyse
from headwise.published.row import Row, rounds_to

DOSES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
STEEP = (2.0, 2.5, 3.5, 40.0, 300.0, 2500.0)
MILD = (2.0, 2.4, 2.9, 3.1, 4.4, 7.0)
WILD = (2.0, 9.0, 1.5, 8.0, 1.0, 6.0)


def curve(name, values):
    return {"name": name, "ppl_curve": [{"sigma": d, "mean": v} for d, v in zip(DOSES, values, strict=True)]}


def slope(values):
    return scipy.stats.linregress(DOSES, values).slope


FILES = {
    "E06/E06b_Same.json": {
        "seed": 123,
        "models": {"mild_7b": curve("org/mild", MILD), "steep_7b": curve("org/steep", STEEP)},
    },
    "E06/E06d_Family.json": {
        "seed": 456,
        "reference": {"e06b_mild_ppl_slope": 20.5, "e06b_steep_ppl_slope": 11111.0, "e06b_ratio": 542},
        "models": {"mild_7b": curve("org/mild", WILD), "third": curve("org/third", STEEP)},
        "comparison": {"e06b_ratio": 542, "e06d_ratio": slope(STEEP) / slope(WILD), "e99_ratio": 3.0},
    },
    "E21/models.json": {
        "model_analysis": [
            {"model_id": "mild_7b", "ppl_slope": float(round(slope(MILD))), "data_verified": True},
            {"model_id": "steep_7b", "ppl_slope": 5.0, "data_verified": True},
            {"model_id": "guess_2b", "ppl_slope": 1000.0, "data_verified": False},
            {"model_id": "gone", "ppl_slope": float("nan"), "data_verified": True},
        ],
        "stage2": {"guess_case": {"actual": "STABLE"}, "exceptions": ["guess_2b", "mild_7b"]},
    },
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return reanalyse(written(tmp_path_factory.mktemp("release"), FILES), tmp_path_factory.mktemp("again"))


def test_a_quoted_slope_stands_beside_the_curve_of_the_experiment_that_it_names(table):
    slopes = table[table["kind"] == "quoted slope"].set_index("place")
    mild = slopes.loc["reference/e06b_mild_ppl_slope"]
    assert (mild["value"], mild["agreement"]) == (pytest.approx(slope(MILD)), "no")
    assert mild["method"] == "curve at E06/E06b_Same.json: models/mild_7b/ppl_curve (seed 123)"


def test_slopes_of_a_list_are_looked_for_in_all_files(table):
    listed = table[(table["kind"] == "quoted slope") & (table["file"] == "E21/models.json")].set_index("place")
    assert listed["agreement"].tolist() == ["yes", "no", "not recomputed"]
    # Two seeds have a curve of this model: the nearest slope counts.
    assert listed.loc["model_analysis/0/ppl_slope", ["value", "n"]].tolist() == [pytest.approx(slope(MILD)), 2]
    assert listed.loc["model_analysis/2/ppl_slope", "remark"] == (
        "no curve of any file here is of this model; marked data_verified: false; "
        "the file speaks of it at stage2/guess_case, stage2/exceptions/0"
    )


def test_a_quoted_ratio_stands_beside_that_of_the_seeds_whose_curves_are_there(table):
    ratios = table[table["kind"] == "quoted ratio"]
    own = ratios[ratios["quantity"] == "ratio of slopes of e06b"]
    (ratio,) = own.to_dict("records")
    assert (ratio["printed"], ratio["times"], ratio["n"], ratio["agreement"]) == (542, 2, 1, "no")
    assert ratio["value"] == pytest.approx(slope(STEEP) / slope(MILD))
    assert ratio["remark"] == "the quoted slopes give 542.0; curves of both models are there for seed 123 alone"
    every = ratios[ratios["quantity"].str.startswith("ratio of mean slopes")].iloc[0]
    assert every["value"] == pytest.approx(slope(STEEP) / np.mean([slope(MILD), slope(WILD)]))
    assert every["remark"] == "org/steep: seed 123; org/mild: seed 123, 456"
    two = ratios[ratios["quantity"] == "ratio of slopes of e06d"].iloc[0]
    assert two["value"] == pytest.approx(two["printed"])
    nothing = ratios[ratios["quantity"] == "ratio of slopes of e99"].iloc[0]
    assert nothing["remark"] == "nothing says of which two slopes"


def test_a_quote_of_an_experiment_that_is_not_here_says_so(tmp_path):
    content = {"reference": FILES["E06/E06d_Family.json"]["reference"]}
    (tmp_path / "E06d.json").write_text(json.dumps(content), encoding="utf-8")
    table = reanalyse(tmp_path, tmp_path / "again").set_index("place")
    assert table.loc["reference/e06b_mild_ppl_slope", "remark"] == "no curve of e06b here is of this model"
    assert table.loc["reference/e06b_ratio", "remark"] == (
        "the quoted slopes give 542.0; no seed has a curve of both models in a file of e06b here"
    )


def test_sentences_name_what_is_quoted_and_what_is_there(table):
    sentences = findings(
        [Row(**{k: None if v != v else v for k, v in each.items()}) for each in table.to_dict("records")]
    )
    assert any(
        each.startswith("The quoted ratio of slopes of e06b, 542, is not that of the curves") for each in sentences
    )
    assert (
        "1 slopes are marked data_verified: false and have no curve: guess_2b 1000. "
        "[E21/models.json: model_analysis/2/ppl_slope]"
    ) in sentences


def test_rounding_is_to_the_decimals_that_are_printed():
    assert rounds_to(46.347, 46.0)
    assert not rounds_to(46.6, 46.0)
    assert rounds_to(73.349, 73.35)
    assert not rounds_to(73.34, 73.35)
    assert rounds_to(0.71342, 0.7134)
    assert not rounds_to(0.7149, 0.7134)
