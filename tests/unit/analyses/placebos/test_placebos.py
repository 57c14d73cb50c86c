"""Placebos against each other: level, power, and what a test within a refit says of them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from report_examples import example_study
from scipy import stats

from headwise.analyses.placebos.jobs import placebo_arguments, placebo_features, tables
from headwise.analyses.placebos.measure import ArmWithPlacebos, measure_placebos, placebo_rows
from headwise.analyses.placebos.report.part import findings, passages, power_chart
from headwise.analyses.placebos.rows import Against, PlaceboRow
from headwise.analyses.specialization.registry import estimator
from headwise.runtime.parquet import write_table
from headwise.study.comparison import Comparison
from headwise.study.parse import parse_study
from headwise.study.study import Study
from headwise.tables.frame import frame_of

COINS = tuple(f"coin{number}" for number in range(6))
ARM = ArmWithPlacebos("base", "dpo", 1, COINS)
REFITS, PROMPTS = 8, 40


def drawn(spread: float = 0.004, within: float = 0.001) -> dict[tuple[str, int], np.ndarray]:
    """Values per prompt: a placebo moves the whole refit by chance, and prompts by less."""
    rng = np.random.default_rng(3)
    values = {}
    for seed in range(REFITS):
        base = 0.3 + 0.02 * rng.normal() + 0.05 * rng.normal(size=PROMPTS)
        values["base", seed] = base
        for coin in COINS:
            values[coin, seed] = base + spread * rng.normal() + within * rng.normal(size=PROMPTS)
    return values


@pytest.fixture(scope="module")
def rows() -> list[PlaceboRow]:
    return list(placebo_rows(ARM, estimator("hellinger"), drawn(), Comparison(resamples=499)))


def test_over_refits_the_level_is_kept_and_within_a_refit_weights_have_changed(rows: list[PlaceboRow]) -> None:
    refits, prompts = (next(row for row in rows if row.against == test and row.injected == 0) for test in Against)
    assert (refits.tests, refits.units, refits.promised) == (15, REFITS, 12 / 256)
    assert refits.rejected is not None
    assert refits.rejected <= stats.binom.ppf(0.999, 15, 12 / 256)
    assert (prompts.tests, prompts.units, prompts.promised) == (len(COINS) * REFITS, PROMPTS, None)
    assert prompts.rejected is not None
    assert prompts.rejected / prompts.tests > 0.8


def test_an_effect_of_deviations_is_found_as_often_as_theory_says(rows: list[PlaceboRow]) -> None:
    """Against the power of Student's t test, which a sign flip comes close to."""
    of_refits = {row.deviations: row for row in rows if row.against == Against.PLACEBO}
    assert [of_refits[size].rejected for size in sorted(of_refits)] == sorted(
        of_refits[size].rejected or 0 for size in of_refits
    )
    found = (of_refits[2.0].rejected or 0) / 15
    noncentral = 2.0 * REFITS**0.5
    bound = stats.t.ppf(0.975, REFITS - 1)
    assert found == pytest.approx(1 - stats.nct.cdf(bound, REFITS - 1, noncentral), abs=0.15)
    assert of_refits[1.0].injected == pytest.approx(2 * of_refits[0.5].injected)


def test_the_deviation_is_that_of_differences_between_placebos(rows: list[PlaceboRow]) -> None:
    # Two placebos that move by 0.004 each.
    row = next(row for row in rows if row.deviations == 1.0)
    assert row.injected == pytest.approx(0.004 * 2**0.5, rel=0.3)


def test_an_estimator_without_values_of_prompts_has_no_test_within_a_refit() -> None:
    values = {key: own.mean(keepdims=True) for key, own in drawn().items()}
    found = list(placebo_rows(ARM, estimator("entropy_profile"), values, Comparison(primary="entropy_profile")))
    assert {row.against for row in found} == {Against.PLACEBO}


def test_placebos_with_the_same_weights_are_refused(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.parquet" for name in ("coin1", "coin2")]
    for path in paths:
        rows = [{"prompt": "a", "layer": 0, "unit": 0, "estimator": "hellinger", "sink": "kept", "value": 0.3}]
        write_table(pa.Table.from_pylist(rows), path, {"model": path.stem, "seed": 1, "weights_digest": "same"})
    with pytest.raises(ValueError, match=r"'coin2' has the weights of 'coin1' at seed 1.*another `coin`"):
        measure_placebos(paths, [], Comparison(), "s", tmp_path / "table.parquet")


def coins_study(count: int) -> Study:
    arm = {"source": "align", "base": "base", "method": "dpo"}
    coins = [arm | {"name": f"coin{coin}", "placebo": True, "coin": coin} for coin in range(1, count + 1)]
    models = [{"name": "base", "source": "train"}, arm | {"name": "dpo"}, *coins]
    return parse_study({"name": "s", "seeds": [1, 2], "prompts": {"path": "p"}, "models": models}, "s.yaml")


def test_it_is_asked_where_an_arm_has_two_placebos() -> None:
    assert tables(coins_study(1)) == ()
    study = coins_study(2)
    assert tables(study) == ("placebo_tests",)
    assert placebo_arguments(study)["arms"] == [
        {"base": "base", "method": "dpo", "dose": 1, "placebos": ["coin1", "coin2"]}
    ]
    assert [path.split("specialization/")[1] for path in placebo_features(study)] == [
        f"{model}/seed{seed}/features.parquet" for model in ("base", "coin1", "coin2") for seed in (1, 2)
    ]


def test_the_report_says_how_often_each_test_rejects(rows: list[PlaceboRow]) -> None:
    study, found = example_study(), {"placebo_tests": frame_of(PlaceboRow, rows)}
    (finding,) = findings(study, found)
    assert "of 15 tests reject, where a share of 0.047 may." in finding.sentence
    assert "of 48 tests of a placebo against its base reject" in finding.numbers
    (passage,) = passages(study, found)
    assert len(passage.views[0][0].rows) == 8
    assert power_chart(study, found).to_dict()["layer"]
    empty = {"placebo_tests": frame_of(PlaceboRow, [])}
    assert list(findings(study, empty)) == list(passages(study, empty)) == []
    assert power_chart(study, empty) is None
