"""Estimators against their definitions, closed forms and invariances."""

import re
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from specialization_examples import (
    entropy,
    pair_value,
    random_attention,
    random_writes,
    without_sink,
    write_measured,
)

from headwise.analyses.specialization import estimators
from headwise.analyses.specialization import settings as specialization
from headwise.analyses.specialization.estimators import entropy_profile
from headwise.analyses.specialization.evaluate import evaluate, read_features
from headwise.analyses.specialization.measured import defined_mean, load_measured
from headwise.analyses.specialization.registry import Estimator, estimator
from headwise.attention.pair_statistics import PAIR_STATISTICS

pytestmark = pytest.mark.filterwarnings("error")

NAMES = specialization.known_estimators()
PROFILES = hnp.arrays(np.float64, st.tuples(st.integers(2, 6), st.integers(2, 5)), elements=st.floats(0, 1))


def value_of(name, measured, sink="kept"):
    each = estimator(name)
    return float(each.summary(defined_mean(each.features(measured, sink), axis=0)))


def measure(folder, attention, writes=None):
    return load_measured(*write_measured(folder, attention, writes))


def cloned(attention):
    return [np.repeat(each[:, :1], 4, axis=1) for each in attention]


def disjoint(prompts=3, layers=2, tokens=7):
    """Two heads: one attends to the query's own position, one to the first token."""
    own, first = np.eye(tokens), np.zeros((tokens, tokens))
    first[:, 0] = 1.0
    return [np.tile(np.stack([own, first]), (layers, 1, 1, 1)) for _ in range(prompts)]


@pytest.mark.parametrize(("name", "sink"), [(name, sink) for name in PAIR_STATISTICS for sink in estimator(name).sinks])
def test_pairwise_estimators_follow_their_definition(tmp_path, name, sink):
    rng = np.random.default_rng(1)
    attention = random_attention(rng)
    writes = random_writes(rng, attention)
    per_prompt_and_layer = [
        np.mean(
            [
                pair_value(name, without_sink(layer) if sink == "dropped" else layer, written, i, j, sink)
                for i, j in combinations(range(4), 2)
            ]
        )
        for weights, outputs in zip(attention, writes, strict=True)
        for layer, written in zip(weights, outputs, strict=True)
    ]
    similarity = name in ("pattern_correlation", "output_cka")
    expected = np.mean([1 - value if similarity else value for value in per_prompt_and_layer])
    assert value_of(name, measure(tmp_path, attention, writes), sink) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("sink", ["kept", "dropped"])
def test_normalized_entropy_follows_its_definition(tmp_path, sink):
    attention = random_attention(np.random.default_rng(2))
    last = [weights[-1] for weights in attention]
    treated = [without_sink(weights) if sink == "dropped" else weights for weights in last]
    per_prompt = [
        np.mean([entropy(row) for head in weights for row in head if np.isfinite(row).all()]) for weights in treated
    ]
    expected = 1 - np.mean(per_prompt) / np.log(128)
    assert value_of("normalized_entropy", measure(tmp_path, attention), sink) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("sink", ["kept", "dropped"])
def test_entropy_profile_follows_its_definition(tmp_path, sink):
    """The lines of the notebooks, one head at a time; the profile is correlated by numpy.corrcoef."""
    attention = random_attention(np.random.default_rng(3), prompts=5, layers=4, heads=5)
    profile = np.zeros((4, 5))
    for weights in attention:
        for layer, head in np.ndindex(4, 5):
            rows = without_sink(weights)[layer, head] if sink == "dropped" else weights[layer, head]
            mass = np.nanmean(rows, axis=0)
            mass = mass[mass > 0] / mass.sum()
            profile[layer, head] += -np.sum(mass * np.log2(mass)) / np.log2(len(mass)) / len(attention)
    correlations = np.corrcoef(profile.T)
    expected = 1 - np.mean(correlations[np.triu_indices(5, 1)])
    measured = measure(tmp_path, attention)
    assert value_of("entropy_profile", measured, sink) == pytest.approx(expected, abs=1e-4)
    mean = defined_mean(estimator("entropy_profile").features(measured, sink), axis=0)
    np.testing.assert_allclose(mean, profile, atol=1e-6)


@pytest.mark.parametrize("name", [*PAIR_STATISTICS, "entropy_profile"])
def test_identical_heads_are_not_specialized(tmp_path, name):
    attention = cloned(random_attention(np.random.default_rng(4)))
    writes = cloned(random_writes(np.random.default_rng(5), attention))
    assert value_of(name, measure(tmp_path, attention, writes)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["hellinger", "js_divergence"])
def test_disjoint_heads_are_maximally_specialized(tmp_path, name):
    assert value_of(name, measure(tmp_path, disjoint())) == 1


@pytest.mark.parametrize("name", [*PAIR_STATISTICS, "normalized_entropy"])
def test_the_order_of_heads_within_layers_changes_no_within_layer_estimator(tmp_path, name):
    rng = np.random.default_rng(6)
    attention = random_attention(rng)
    writes = random_writes(rng, attention)
    orders = [rng.permutation(4) for _ in range(3)]

    def shuffled(tensors):
        return [np.stack([layer[o] for layer, o in zip(each, orders, strict=True)]) for each in tensors]

    before = measure(tmp_path / "before", attention, writes)
    after = measure(tmp_path / "after", shuffled(attention), shuffled(writes))
    for sink in estimator(name).sinks:
        assert value_of(name, after, sink) == pytest.approx(value_of(name, before, sink), abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_values_lie_in_the_declared_range(tmp_path, name):
    each = estimator(name)
    for attention in (random_attention(np.random.default_rng(7)), disjoint()):
        measured = measure(tmp_path, attention)
        for sink in each.sinks:
            value = value_of(name, measured, sink)
            assert np.isnan(value) or each.low - 1e-6 <= value <= each.high + 1e-6


@pytest.mark.parametrize("name", [name for name in NAMES if estimator(name).per_layer])
def test_estimators_with_values_of_layers_are_linear(name):
    features = np.random.default_rng(8).uniform(size=(7, 3, 1))
    each = estimator(name)
    assert each.summary(features.mean(axis=0)) == pytest.approx(each.summary(features).mean())


def test_one_head_is_undefined_where_heads_are_compared(tmp_path):
    measured = measure(tmp_path, random_attention(np.random.default_rng(9), heads=1))
    for name in (*PAIR_STATISTICS, "entropy_profile", "normalized_entropy"):
        each = estimator(name)
        reason = each.undefined_because(measured.heads, len(measured.layers))
        assert reason == (None if name == "normalized_entropy" else "too few heads per layer: 1, at least 2 needed")
        assert np.isfinite(value_of(name, measured)) == (reason is None)


def test_pairs_that_are_undefined_are_left_out_of_the_mean(tmp_path):
    attention = random_attention(np.random.default_rng(10), layers=1, heads=3)
    for weights in attention:
        weights[0, 0] = 0.0
        weights[0, 0, :, 0] = 1.0  # everything on the sink: no row is left when it is dropped
    measured = measure(tmp_path, attention)
    expected = np.mean([pair_value("hellinger", without_sink(each[0]), None, 1, 2, "dropped") for each in attention])
    assert value_of("hellinger", measured, "dropped") == pytest.approx(expected, abs=1e-6)
    assert np.isnan(estimator("entropy_profile").features(measured, "dropped")[:, 0, 0]).all()
    assert (estimator("entropy_profile").features(measured, "kept")[:, 0, 0] == 0).all()


@settings(deadline=None)
@given(PROFILES, st.integers(0, 4), st.integers(0, 2))
def test_mean_head_correlation_is_the_mean_of_the_upper_triangle(profile, constant, missing):
    profile = np.round(profile, 3)  # columns either vary or do not: no differences near rounding
    if constant < profile.shape[1]:
        profile[:, constant] = 0.3
    if missing == 0:
        profile[0, -1] = np.nan
    with np.errstate(all="ignore"):
        triangle = np.corrcoef(profile.T)[np.triu_indices(profile.shape[1], 1)]
    constant_columns = [np.ptp(column) == 0 for column in profile.T]
    pairs = list(combinations(range(profile.shape[1]), 2))
    kept = [r for r, (i, j) in zip(triangle, pairs, strict=True) if not (constant_columns[i] or constant_columns[j])]
    kept = [r for r in kept if np.isfinite(r)]
    found = entropy_profile.mean_head_correlation(profile)
    if kept:
        assert found == pytest.approx(np.mean(kept), abs=1e-9)
    else:
        assert np.isnan(found)


@settings(deadline=None)
@given(PROFILES)
def test_entropy_profile_ignores_the_numbering_of_heads_and_the_scale_of_depth(profile):
    profile = np.round(profile, 3)
    value = entropy_profile.summary(profile)
    for same in (profile[:, ::-1], profile[::-1], 2 * profile + 1):
        assert entropy_profile.summary(same) == pytest.approx(value, abs=1e-9, nan_ok=True)


def test_entropy_profile_is_computed_for_stacks_of_profiles():
    stack = np.random.default_rng(11).uniform(size=(5, 2, 4, 3))
    expected = [[entropy_profile.summary(profile) for profile in row] for row in stack]
    np.testing.assert_allclose(entropy_profile.summary(stack), expected, atol=1e-12)


def test_companions_of_entropy_profile_by_hand():
    profile = np.array([[0.2, 0.4], [0.6, 0.6]])
    assert entropy_profile.layer_variance(profile) == pytest.approx([0.01, 0.0])
    assert entropy_profile.mean_head_variance(profile) == pytest.approx(0.005)
    shares = np.array([0.4, 0.5]) / 0.9
    assert entropy_profile.effective_heads(profile) == pytest.approx(np.prod(shares**-shares))
    assert entropy_profile.effective_heads(np.full((3, 7), 0.4)) == pytest.approx(7)
    assert np.isnan(entropy_profile.effective_heads(np.zeros((3, 7))))


@pytest.mark.parametrize(
    ("layers", "ranges"), [(32, [(0, 10), (10, 20), (20, 32)]), (42, [(0, 14), (14, 28), (28, 42)])]
)
def test_thirds_of_the_depth_are_those_of_the_release(layers, ranges):
    assert [(part.start, part.stop) for part in entropy_profile.thirds(layers).values()] == ranges


@pytest.mark.parametrize("name", NAMES)
def test_every_estimator_says_what_it_is(name):
    each = estimator(name)
    assert each.definition
    assert each.source
    assert each.low < each.high
    assert "Known failure" in __import__(each.features.__module__, fromlist=["_"]).__doc__


def test_unknown_estimators_are_refused_with_the_known_names():
    with pytest.raises(ValueError, match=f"unknown estimator 'helinger': choose from {', '.join(NAMES)}$"):
        estimator("helinger")


NEW_ESTIMATOR = '''
"""Mean number of tokens, to show that one file is enough."""
import numpy as np
from headwise.analyses.specialization.registry import Estimator, mean_over_layers


def features(measured, sink):
    return np.tile(measured.tokens[:, None, None].astype(float), (1, len(measured.layers), 1))


ESTIMATOR = Estimator("tokens", "T", "this test", 0.0, np.inf, features, mean_over_layers, minimum_heads=1)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of estimators of one's own."""
    folder = tmp_path / "estimators"
    folder.mkdir()
    monkeypatch.setattr(specialization, "ESTIMATOR_FOLDER", folder)
    monkeypatch.setattr(estimators, "__path__", [*estimators.__path__, str(folder)])
    return folder


def test_an_estimator_is_added_in_one_file(tmp_path, folder):
    (folder / "tokens.py").write_text(NEW_ESTIMATOR)
    (folder / "empty.py").write_text("")
    attention = random_attention(np.random.default_rng(12))
    heads, pairs = write_measured(tmp_path / "measured", attention)
    chosen = specialization.Specialization(estimators=["tokens"], head_permutations=2)
    evaluate(heads, pairs, tmp_path / "features.parquet", tmp_path / "summary.parquet", chosen, seed=1)
    values = read_features(tmp_path / "features.parquet")["tokens", "kept"].values
    assert values[:, 0, 0].tolist() == [each.shape[-1] for each in attention]
    assert isinstance(estimator("tokens"), Estimator)
    with pytest.raises(TypeError, match="defines no estimator 'empty'"):
        estimator("empty")


@pytest.mark.parametrize("sink", ["kept", "dropped"])
def test_the_estimator_of_the_documentation_follows_its_definition(tmp_path, folder, root, sink):
    page = (root / "docs" / "adding-an-estimator.md").read_text(encoding="utf-8")
    place, code = re.search(r"```python\n# (\S+)\n(.*?)```", page, re.DOTALL).groups()
    name = place.split("/")[-1].removesuffix(".py")
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    attention = random_attention(np.random.default_rng(13))
    treated = [without_sink(weights) if sink == "dropped" else weights for weights in attention]
    means = [
        [[np.mean([entropy(row) for row in head if np.isfinite(row).all()]) for head in layer] for layer in weights]
        for weights in treated
    ]
    expected = np.mean([np.var(layer) for weights in means for layer in weights])
    measured = measure(tmp_path / "measured", attention)
    assert value_of(name, measured, sink) == pytest.approx(expected, rel=1e-5)
    test_every_estimator_says_what_it_is(name)
    test_values_lie_in_the_declared_range(tmp_path, name)
