"""The published specialization indices, recomputed from the entropy matrices released with them.

The data of D'Elia 2026 are no part of this project. To run these tests, set HEADWISE_REFERENCE to a folder
that holds them as `delia2026/`: the result files of `paper4/`, in any subfolders.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from headwise.analyses.specialization.estimators import entropy_profile
from headwise.analyses.specialization.evaluate import shuffled

VARIABLE = "HEADWISE_REFERENCE"
LLAMA_2 = {"base": 0.3906282294127408, "instruct": 0.3110862734692479}
# How far the mean over random orders of heads within layers may lie from the published index: .0097 in Yi-1.5-9B.
LARGEST_MEAN_CHANGE = 0.010


def released() -> Iterator[tuple[str, np.ndarray, dict]]:
    """Name, layers × heads entropies and published numbers of every released matrix."""
    for path in sorted(Path(os.environ[VARIABLE], "delia2026").rglob("E11*.json")):
        yield from matrices(path.stem, json.loads(path.read_text(encoding="utf-8")))


def matrices(name, value):
    """All objects in a JSON value that hold a matrix beside the numbers published for it."""
    if isinstance(value, dict):
        if "entropies" in value:
            yield name, np.array(value["entropies"], dtype=np.float64), value["specialization"]
        value = {key: each for key, each in value.items() if key != "entropies"}
        for key, each in value.items():
            yield from matrices(f"{name}/{key}", each)
    elif isinstance(value, list):
        for position, each in enumerate(value):
            yield from matrices(f"{name}/{position}", each)


@pytest.fixture(scope="module")
def release():
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} is not set: it names a folder with the released data, no part of headwise")
    found = list(released())
    assert found, f"no E11*.json with entropies under {os.environ[VARIABLE]}/delia2026"
    return found


def test_every_published_index(release):
    for name, entropies, published in release:
        difference = entropy_profile.summary(entropies) - published["specialization_index"]
        assert abs(difference) < 1e-12, name


def test_the_indices_of_llama_2(release):
    found = {name.split("/")[-1]: entropy_profile.summary(e) for name, e, _ in release if "llama2_territorial" in name}
    assert found == pytest.approx(LLAMA_2, abs=1e-12)


@pytest.mark.parametrize(
    ("published_name", "companion"),
    [
        ("mean_head_correlation", entropy_profile.mean_head_correlation),
        ("mean_head_variance", entropy_profile.mean_head_variance),
        ("effective_heads", entropy_profile.effective_heads),
        ("layer_variances", entropy_profile.layer_variance),
    ],
)
def test_every_published_companion(release, published_name, companion):
    compared = 0
    for name, entropies, published in release:
        if published_name in published:
            np.testing.assert_allclose(companion(entropies), published[published_name], atol=1e-12, err_msg=name)
            compared += 1
    assert compared >= 2


def test_shuffling_heads_hardly_moves_the_published_indices(release):
    """The index does not measure which head does what: their order within layers can be random."""
    for name, entropies, _ in release:
        rng = np.random.default_rng(1)
        values = shuffled(entropy_profile.ESTIMATOR, entropies, 200, rng)
        assert abs(values.mean() - entropy_profile.summary(entropies)) <= LARGEST_MEAN_CHANGE, name
