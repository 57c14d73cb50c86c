"""The probe: readings, discrimination, and what the best of 24 cells finds where there is nothing."""

import numpy as np
import pytest

from headwise.analyses.noise.probe import (
    ProbedPair,
    aligned_against_base,
    best_of_cells,
    reading,
    suppressed_against_others,
)


def rng():
    return np.random.default_rng(2)


def test_readings_follow_the_published_thresholds():
    responses = (114.05, 20.0, 5.0, 0.0, -5.0, -24.02)
    assert [reading(response) for response in responses] == [
        "suppressed", "between stable and suppressed", "stable", "stable", "stable", "optimised",
    ]  # fmt: skip


def test_discrimination_is_the_chance_of_a_larger_response():
    pairs = [
        ProbedPair(0.5, 0.4, 1.0, 9.0, "one"),
        ProbedPair(0.5, 0.6, 1.0, 2.0, "one"),  # the same base as above
        ProbedPair(0.4, 0.3, 3.0, 4.0, "two"),
        ProbedPair(0.3, 0.35, 5.0, 0.5, "three"),
    ]
    # Aligned 9, 2, 4, 0.5 against bases 1, 3, 5: 3 + 1 + 2 + 0 wins of 12.
    area = aligned_against_base(pairs, rng(), 99, 0.05)
    assert (area.estimate, area.n, area.n_reference) == (0.5, 4, 3)
    # Fell: 9 and 4; rose: 2 and 0.5.
    area = suppressed_against_others(pairs, rng(), 99, 0.05)
    assert (area.estimate, area.n, area.n_reference) == (1.0, 2, 2)
    assert area.low is None
    assert area.reason


def test_bases_with_the_same_numbers_are_two():
    pairs = [ProbedPair(0.5, 0.4, 0.0, 9.0, ("base", seed)) for seed in (1, 2)]
    assert aligned_against_base(pairs, rng(), 99, 0.05).n_reference == 2


def test_one_group_alone_has_no_area_but_a_reason():
    area = suppressed_against_others([ProbedPair(0.5, 0.4, 1.0, 9.0, "one")], rng(), 99, 0.05)
    assert area.estimate is None
    assert "negative group has no unit" in area.reason


def test_the_best_of_24_cells_finds_an_effect_in_a_null_model():
    """12 models whose 24 responses are pure noise: a cell fixed beforehand keeps its level, the best one does not."""
    null = np.random.default_rng(0).normal(scale=15, size=(12, 24))
    found = best_of_cells(null, 3, rng(), 2000, 0.05)
    assert (found.cells, found.units) == (24, 12)
    assert 0.03 < found.declared_rate < 0.07
    assert found.best_rate > 0.3
    assert abs(found.declared_percent) < 1
    assert found.best_percent > 10


def test_a_single_cell_leaves_nothing_to_select_but_the_direction():
    found = best_of_cells(np.random.default_rng(0).normal(size=(10, 1)), 0, rng(), 500, 0.05)
    assert found.best_rate == found.declared_rate
    assert found.best_percent == found.declared_percent


def test_too_few_models_are_refused():
    with pytest.raises(ValueError, match="3 units cannot be split into halves of two"):
        best_of_cells(np.zeros((3, 2)), 0, rng(), 10, 0.05)
