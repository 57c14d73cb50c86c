"""The best of many cells of a probe: what was chosen, what chance gives, and the gap that choosing makes."""

import itertools

import numpy as np
import pytest
from published_examples import written

from headwise.published.findings import findings
from headwise.published.probe import Cell, by_coin, largest_of_normal
from headwise.published.reanalyse import reanalyse
from headwise.published.row import Row

DOSES = (0.0, 0.1, 0.2)
# Changes in per cent by region, at the doses after 0.
BASE = {"early": (10.0, 20.0), "late": (-5.0, 30.0)}
CHAT = {"early": (40.0, 1.0), "late": (-25.0, 2.0)}


def cells(changes, index=0.5, shift=0.0):
    return [
        {
            "region": region,
            "tests": [{"noise": 0.0, "si": index}]
            + [
                {"noise": dose, "si": index * (1 + (each + shift) / 100)}
                for dose, each in zip(DOSES[1:], own, strict=True)
            ],
        }
        for region, own in changes.items()
    ]


def model(name, changes):
    seeds = {str(seed): {"global": cells(changes, shift=shift)} for seed, shift in ((1, -1), (2, 0), (3, 1))}
    return {"model_name": name, "all_seed_results": seeds}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    files = {
        "probe.json": {
            "results": {"base": model("org/base", BASE), "instruct": model("org/chat", CHAT)},
            "verdict": {"base_effect": 30.0, "inst_effect": -25.0, "gap_pp": 55.0},
            "gqa_reference": {"model": "Other", "collapsed_heal": 28.6},
            "own_reference": {"model": "base", "healthy_damage": -5.1},
        },
        "means.json": {
            "model": "org/single",
            "verdict": {"best_region": "all", "best_noise": 0.1, "best_recovery": 3.0},
            "results": {
                "treatments": [
                    {
                        "region": "all",
                        "noise_tests": [
                            {"noise_std": 0.0, "specialization_index": 9.0, "seed_values": {"1": 0.5, "2": 0.25}},
                            {"noise_std": 0.1, "specialization_index": 9.0, "seed_values": {"1": 0.6, "2": 0.3}},
                            {"noise_std": 0.2, "specialization_index": 9.0, "seed_values": {"1": 0.4, "2": 0.1}},
                        ],
                    }
                ],
                # The first seed once more, on its own: no second probe.
                "treatments_of_1": [
                    {
                        "region": "all",
                        "seed": 1,
                        "noise_tests": [{"noise_std": dose, "si": si} for dose, si in ((0.0, 0.5), (0.1, 0.6))],
                    }
                ],
            },
        },
    }
    found = reanalyse(written(tmp_path_factory.mktemp("release"), files), tmp_path_factory.mktemp("again"))
    return found[found["kind"] == "probe"]


def of(table, **columns):
    for column, value in columns.items():
        table = table[table[column] == value]
    (row,) = table.to_dict("records")
    return row


def test_the_printed_effect_is_the_best_cell(table):
    rise = of(table, place="results/base/global", quantity="largest rise of 6 cells, 4 with noise: late, σ 0.2, in %")
    assert (rise["printed"], rise["value"], rise["agreement"]) == (30.0, pytest.approx(30.0), "yes")
    assert (rise["low"], rise["high"], rise["n"]) == (pytest.approx(29.0), pytest.approx(31.0), 3)
    fall = of(table, place="results/instruct/global", printed=-25.0)
    assert fall["quantity"] == "largest fall of 6 cells, 4 with noise: late, σ 0.1, in %"
    other = of(
        table, place="results/instruct/global", quantity="largest rise of 6 cells, 4 with noise: early, σ 0.1, in %"
    )
    assert other["value"] == pytest.approx(40.0)


def test_the_best_by_chance_is_that_of_all_signs_of_regions(table):
    chance = of(table, place="results/base/global", quantity="largest rise of 6 cells, 4 with noise, by chance, in %")
    largest = [
        max(sign * change for sign, own in zip(signs, BASE.values(), strict=True) for change in own)
        for signs in itertools.product((1, -1), repeat=2)
    ]
    assert chance["value"] == pytest.approx(np.mean(largest))
    assert chance["p"] == pytest.approx(np.mean([each >= 30 for each in largest]))
    assert chance["p_attainable"] == 0.25


def test_the_gap_of_two_models_stands_beside_that_of_one(table):
    gap = of(table, place="verdict/gap_pp")
    assert (gap["printed"], gap["value"], gap["agreement"]) == (55.0, pytest.approx(55.0), "yes")
    # Largest rise minus largest fall: 30 + 5 in the one, 40 + 25 in the other.
    assert (gap["low"], gap["high"]) == (pytest.approx(35.0), pytest.approx(65.0))


def test_seeds_of_a_cell_are_compared_with_their_own_clean_index(table):
    own = table[table["file"] == "means.json"]
    rise = of(own, quantity="largest rise of 3 cells, 2 with noise: all, σ 0.1, in %")
    assert (rise["value"], rise["low"], rise["high"]) == (pytest.approx(20.0),) * 3
    fall = of(own, quantity="largest fall of 3 cells, 2 with noise: all, σ 0.2, in %")
    assert (fall["value"], fall["low"], fall["high"]) == (pytest.approx(-40), pytest.approx(-60), pytest.approx(-20))
    assert set(own["place"]) == {"results/treatments"}
    spread = own[own["quantity"].str.contains("spread of seeds")].iloc[0]
    # Errors of the two cells: 0, and the deviation of −20 and −60 over the root of 2.
    error = np.sqrt(np.mean([0.0, np.var([-20.0, -60.0], ddof=1) / 2]))
    assert spread["value"] == pytest.approx(error / np.sqrt(np.pi), rel=1e-6)  # the larger of two: 1 / √π


def test_a_quoted_effect_stands_beside_the_nearest_cell(table):
    none = of(table, place="gqa_reference/collapsed_heal")
    assert none["remark"] == "no probe of this model is here"
    near = of(table, place="own_reference/healthy_damage")
    assert (near["value"], near["agreement"], near["n"]) == (pytest.approx(-5.0), "no", 4)


def test_the_largest_of_normal_numbers_against_known_values():
    # Harter (1961), expected values of normal order statistics.
    assert [largest_of_normal(n) for n in (2, 5, 10, 20)] == pytest.approx(
        [0.56419, 1.16296, 1.53875, 1.86748], abs=1e-5
    )


def test_one_region_alone_turns_half_the_time():
    assert by_coin([Cell("all", 0.1, (4.0,)), Cell("all", 0.2, (-1.0,))], 1) == (pytest.approx(2.5), 0.5, 0.5)


def test_sentences_name_the_cell_its_chance_and_its_file(table):
    sentences = findings(
        [Row(**{k: None if v != v else v for k, v in each.items()}) for each in table.to_dict("records")]
    )
    place = "[probe.json: results/instruct/global/noise_tests, tests]"
    assert (
        f"The printed −25% of org/chat is the largest fall of 6 cells, 4 with noise: late, σ 0.1. {place}" in sentences
    )
    assert (
        f"In the same cells it has the largest rise of 6 cells, 4 with noise: early, σ 0.1: 40%. {place}" in sentences
    )
    assert (
        "The chosen cell of org/single is the largest rise of 3 cells, 2 with noise: all, σ 0.1 "
        "(20%; chosen at verdict/best_region). [means.json: results/treatments/noise_tests, tests]"
    ) in sentences
    assert "Within one model the same choice gives 35 and 65 points. [probe.json: verdict/gap_pp]" in sentences
