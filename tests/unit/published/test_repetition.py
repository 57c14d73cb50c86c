"""Slopes of repetition over noise, their change by alignment, and changes that are quoted."""

import itertools

import numpy as np
import pytest
from published_examples import written

from headwise.published.findings import findings
from headwise.published.reanalyse import reanalyse
from headwise.published.repetition import of_experiment
from headwise.published.row import Row

DOSES = (0.0, 0.05, 0.1)
SLOPES = {"base": (1.0, 2.0, 1.5), "instruct": (3.0, 2.5, 4.0)}


def region(slope, bend=0.01):
    curve = [[dose, slope * dose + (bend if dose == 0.05 else 0.0)] for dose in DOSES]
    return {"curve": curve, "fragility": slope}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    sides = {
        side: {
            "seed_results": {
                str(seed): {"early": region(slope), "all": region(-slope)}
                for seed, slope in zip((42, 123, 456), slopes, strict=True)
            }
        }
        for side, slopes in SLOPES.items()
    }
    files = {
        "E04/E04_Two_Twin_1.json": {"base_model": "org/base", "instruct_model": "org/chat", "results": sides},
        "E04/E04b_more.json": {
            "results": {
                "One": {
                    "base_model": "one/base",
                    "instruct_model": "one/chat",
                    "base": {"seed_results": {"42": {"early": region(2.0)}}},
                    "instruct": {"seed_results": {"42": {"early": region(3.0)}}},
                    "deltas": {"early": {"absolute": 1.0, "percent": 50.0}},
                },
                "Broken": {"status": "error", "error": "no shape"},
            },
            "prior": {
                "Two": {"early_delta": "+111%", "source": "E04-Two"},
                "Wrong": {"early_delta": "+7%", "source": "E04-Two"},
                "Absent": {"early_delta": "+51%", "source": "E99-None"},
                "Other region": {"early_delta": "+5%", "source": "E04-Still"},
            },
        },
        "E04/E04_Still.json": {
            "models": {"base": "still/base", "instruct": "still/chat"},
            "results": {
                "base": {"fragility": {"degradation_curve": [[d, 0.3 - d] for d in DOSES], "fragility_score": -1.0}},
                "instruct": {"fragility": {"degradation_curve": [[d, 0.0] for d in DOSES], "fragility_score": 0.0}},
            },
        },
    }
    return reanalyse(written(tmp_path_factory.mktemp("release"), files), tmp_path_factory.mktemp("again"))


def test_slopes_are_computed_again_with_model_and_seed(table):
    slopes = table[table["kind"] == "repetition slope"]
    assert slopes["agreement"].eq("yes").all()
    assert len(slopes) == 16
    one = slopes.set_index("place").loc["results/instruct/seed_results/123/early"]
    assert (one["model"], one["seed"], one["value"]) == ("org/chat", "123", pytest.approx(2.5))
    # Three points have six pairings.
    assert one["p_attainable"] == pytest.approx(2 / 6)
    still = slopes[slopes["remark"].fillna("").str.contains("nothing is repeated")]
    assert still["model"].tolist() == ["still/chat"]


def test_the_change_is_tested_over_all_splits_of_the_seeds(table):
    changes = table[(table["kind"] == "repetition change") & (table["file"] == "E04/E04_Two_Twin_1.json")]
    early = changes[changes["quantity"] == "slope of repetition, aligned minus base, region early"].iloc[0]
    base, aligned = (np.array(SLOPES[side]) for side in ("base", "instruct"))
    pooled, found = np.concatenate([base, aligned]), aligned.mean() - base.mean()
    splits = [
        abs(pooled[list(chosen)].mean() - np.delete(pooled, chosen).mean())
        for chosen in itertools.combinations(range(6), 3)
    ]
    assert early["value"] == pytest.approx(found)
    assert early["p"] == pytest.approx(np.mean([each >= found - 1e-12 for each in splits]))
    assert (early["p_attainable"], early["n"]) == (pytest.approx(0.1), 6)
    percent = changes[changes["quantity"].str.endswith("% of base, region early")].iloc[0]
    assert percent["value"] == pytest.approx(100 * found / base.mean())


def test_one_seed_on_each_side_is_no_test(table):
    own = table[(table["kind"] == "repetition change") & (table["file"] == "E04/E04b_more.json")]
    one = own[own["quantity"] == "slope of repetition, aligned minus base, region early"].iloc[0]
    assert (one["p_attainable"], one["remark"]) == (1.0, "one seed on each side: no test")
    percent = own[own["place"] == "results/One/deltas/early/percent"].iloc[0]
    assert (percent["printed"], percent["value"], percent["agreement"]) == (50.0, pytest.approx(50.0), "yes")


def test_quoted_changes_are_looked_for_in_the_files_they_name(table):
    quoted = table[table["place"].str.endswith("early_delta")].set_index("place")
    assert quoted["agreement"].tolist() == ["yes", "no", "not recomputed", "not recomputed"]
    assert quoted.loc["prior/Two/early_delta", "value"] == pytest.approx(100 * 5 / 4.5)
    assert quoted.loc["prior/Absent/early_delta", "remark"] == "no curve of repetition of E99-None is here"
    assert (
        quoted.loc["prior/Other region/early_delta", "remark"] == "the file of E04-Still has no change in region early"
    )


def test_a_run_that_failed_is_named(table):
    (failed,) = table[table["kind"] == "failed run"].to_dict("records")
    assert (failed["place"], failed["remark"]) == ("results/Broken/error", "no shape")


def test_sentences_give_each_region(table):
    sentences = findings(
        [Row(**{k: None if v != v else v for k, v in each.items()}) for each in table.to_dict("records")]
    )
    assert (
        "Slope of repetition of org/chat minus base, by region: early 1.67, all −1.67 (smallest p 0.1). "
        "[E04/E04_Two_Twin_1.json: results/…/fragility]"
    ) in sentences
    assert (
        "A run ended in an error and measured nothing: no shape. [E04/E04b_more.json: results/Broken/error]"
        in sentences
    )


@pytest.mark.parametrize(
    ("file", "experiment", "belongs"),
    [
        ("E06/E06b_Same.json", "e06b", True),
        ("E06/E06b_Same.json", "e06", False),
        ("E06/E06_Triangle.json", "e06", True),
        ("E04/E04_qwen_twin.json", "E04-Qwen", True),
        ("E04/E04_qwen_twin.json", "E04-LLaMA31", False),
    ],
)
def test_a_file_belongs_to_the_experiment_that_its_name_begins_with(file, experiment, belongs):
    assert of_experiment(file, experiment) == belongs
