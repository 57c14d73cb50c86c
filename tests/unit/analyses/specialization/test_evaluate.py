"""What evaluation writes about one model, against recomputation by hand."""

from itertools import permutations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from specialization_examples import METADATA, PAIR_STATISTICS, random_attention, write_measured

from headwise.analyses.specialization.estimators import entropy_profile
from headwise.analyses.specialization.evaluate import evaluate, read_features, shuffled
from headwise.analyses.specialization.registry import estimator
from headwise.analyses.specialization.settings import Specialization, known_estimators
from headwise.runtime.parquet import read_metadata, write_table
from headwise.statistics.generators import generator_for

pytestmark = pytest.mark.filterwarnings("error")

PERMUTATIONS = 30


@pytest.fixture(scope="module")
def attention():
    return random_attention(np.random.default_rng(1), prompts=4, layers=3, heads=4)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, attention):
    """Paths of the features and of the summary of a random model, and the summary as a table."""
    return run(tmp_path_factory.mktemp("evaluated"), attention)


def run(folder, attention, names=None, seed=3):
    needed = [name for name in PAIR_STATISTICS if names is None or name in names]
    heads, pairs = write_measured(folder, attention, statistics=needed)
    paths = folder / "features.parquet", folder / "summary.parquet"
    chosen = Specialization(estimators=names or known_estimators(), head_permutations=PERMUTATIONS)
    evaluate(heads, pairs, *paths, chosen, seed)
    return *paths, pd.read_parquet(paths[1])


def pick(summary, name, scope, sink="kept"):
    chosen = summary[(summary.estimator == name) & (summary.sink == sink) & (summary.scope == scope)]
    return chosen["value"].to_numpy()


def test_columns_and_types(evaluated):
    features, summary, _ = evaluated
    assert {field.name: str(field.type) for field in pq.read_schema(features)} == {
        "estimator": "string",
        "sink": "string",
        "prompt": "string",
        "layer": "int16",
        "unit": "int16",
        "value": "double",
    }
    assert {field.name: str(field.type) for field in pq.read_schema(summary)} == {
        "estimator": "string",
        "sink": "string",
        "scope": "string",
        "layer": "int16",
        "value": "double",
        "deviation": "double",
        "reason": "string",
    }


def test_metadata_is_passed_on_with_what_the_estimators_are(evaluated, attention):
    for path in evaluated[:2]:
        metadata = read_metadata(path)
        assert {key: metadata[key] for key in METADATA} == METADATA
        assert metadata["tokens_per_prompt"] == [each.shape[-1] for each in attention]
        assert list(metadata["estimators"]) == known_estimators()
        assert metadata["estimators"]["hellinger"]["definition"] == estimator("hellinger").definition
        assert metadata["estimators"]["normalized_entropy"]["low"] is None


def test_sinks_and_units(evaluated):
    features = read_features(evaluated[0])
    both = [(name, sink) for name in known_estimators() for sink in estimator(name).sinks]
    assert list(features) == both
    assert ("output_cka", "dropped") not in features
    for (name, _), each in features.items():
        assert each.values.shape[:2] == (4, 3)
        assert each.values.shape[2] == 1 or not estimator(name).per_layer
        assert each.prompts == tuple(f"prompt {number}" for number in range(4))
        assert each.layers == (0, 1, 2)
    assert features["entropy_profile", "kept"].values.shape[2] == 4


@pytest.mark.parametrize("sink", ["kept", "dropped"])
def test_values_of_layers_and_model(evaluated, sink):
    features, summary = read_features(evaluated[0]), evaluated[2]
    for name in ("hellinger", "js_divergence", "pattern_correlation", "normalized_entropy"):
        layers = features[name, sink].values.mean(axis=0)[:, 0]
        assert pick(summary, name, "layer", sink) == pytest.approx(layers)
        expected = layers[-1] if name == "normalized_entropy" else layers.mean()
        assert pick(summary, name, "model", sink) == pytest.approx([expected])
    assert len(pick(summary, "entropy_profile", "layer", sink)) == 0


def test_leaving_a_layer_out_is_measuring_a_model_without_it(evaluated, attention, tmp_path):
    summary = evaluated[2]
    for left_out in range(3):
        rest = [np.delete(weights, left_out, axis=0) for weights in attention]
        names = ["hellinger", "normalized_entropy", "entropy_profile"]
        without = run(tmp_path / str(left_out), rest, names)[2]
        for name in names:
            expected = pick(without, name, "model")[0]
            assert pick(summary, name, "without_layer")[left_out] == pytest.approx(expected, abs=1e-9)


def test_shuffling_heads_moves_no_estimator_that_pools_them(evaluated):
    summary = evaluated[2]
    for name in known_estimators():
        if estimator(name).per_layer:
            assert pick(summary, name, "head_permutation_largest_change") == [0.0]
            assert pick(summary, name, "head_permutation") == pick(summary, name, "model")


def test_shuffling_heads_against_all_orders():
    """Two layers of three heads: 36 orders, each computed with numpy.corrcoef."""
    mean = np.random.default_rng(2).uniform(size=(3, 3))
    every = []
    for first in permutations(range(3)):
        for second in permutations(range(3)):
            profile = np.stack([mean[0, list(first)], mean[1, list(second)], mean[2]])
            every.append(1 - np.corrcoef(profile.T)[np.triu_indices(3, 1)].mean())
    values = shuffled(estimator("entropy_profile"), mean, 4000, np.random.default_rng(3))
    assert sorted(set(values.round(9))) == sorted(set(np.round(every, 9)))
    assert values.mean() == pytest.approx(np.mean(every), abs=4 * np.std(every) / np.sqrt(4000))


def test_head_permutation_is_summarised(evaluated):
    features, summary = read_features(evaluated[0]), evaluated[2]
    for sink in ("kept", "dropped"):
        mean = features["entropy_profile", sink].values.mean(axis=0)
        rng = generator_for("head permutation", 3, "entropy_profile", sink)
        values = shuffled(estimator("entropy_profile"), mean, PERMUTATIONS, rng)
        changes = values - pick(summary, "entropy_profile", "model", sink)
        assert changes.min() < 0 < changes.max()
        largest = max(-changes.min(), changes.max())
        assert pick(summary, "entropy_profile", "head_permutation_largest_change", sink) == pytest.approx([largest])
        assert pick(summary, "entropy_profile", "head_permutation", sink) == pytest.approx([values.mean()])
    chosen = (summary.estimator == "entropy_profile") & (summary.scope == "head_permutation")
    assert summary[chosen & (summary.sink == "dropped")]["deviation"].item() == pytest.approx(values.std())
    assert summary[summary.scope != "head_permutation"]["deviation"].isna().all()


def test_companions(evaluated):
    features, summary = read_features(evaluated[0]), evaluated[2]
    profile = features["entropy_profile", "kept"].values.mean(axis=0)
    assert pick(summary, "entropy_profile", "mean_head_correlation") == pytest.approx(
        1 - pick(summary, "entropy_profile", "model")
    )
    assert pick(summary, "entropy_profile", "layer_variance") == pytest.approx(profile.var(axis=1))
    assert pick(summary, "entropy_profile", "effective_heads") == pytest.approx(
        [entropy_profile.effective_heads(profile)]
    )
    full = pick(summary, "pattern_correlation", "full_support")[0]
    # Structural zeros above the diagonal raise every correlation.
    assert 0 < full < pick(summary, "pattern_correlation", "model")[0]


def test_undefined_values_are_null_with_a_reason(evaluated, tmp_path):
    one_head = run(tmp_path, random_attention(np.random.default_rng(4), layers=2, heads=1))[2]
    for summary in (evaluated[2], one_head):
        assert (summary["value"].isna() == summary["reason"].notna()).all()
    undefined = one_head[one_head.estimator != "normalized_entropy"]
    assert set(undefined["reason"]) == {"too few heads per layer: 1, at least 2 needed"}
    local = evaluated[2][evaluated[2].scope == "local_early"]
    assert local["reason"].str.startswith("fewer than two layers").all()


def test_one_layer_has_no_rest(tmp_path):
    summary = run(tmp_path, random_attention(np.random.default_rng(5), layers=1), ["hellinger"])[2]
    left = summary[summary.scope == "without_layer"]
    assert set(left["reason"]) == {"too few layers: 0, at least 1 needed"}


def test_the_same_input_gives_the_same_bytes(attention, tmp_path):
    first, second, other = (
        run(tmp_path / name, attention, ["entropy_profile"], seed) for name, seed in zip("abc", (1, 1, 2), strict=True)
    )
    assert first[0].read_bytes() == second[0].read_bytes() == other[0].read_bytes()
    assert first[1].read_bytes() == second[1].read_bytes()
    assert pick(first[2], "entropy_profile", "head_permutation") != pick(
        other[2], "entropy_profile", "head_permutation"
    )


def test_true_layer_indices_are_kept(attention, tmp_path):
    heads, pairs = write_measured(tmp_path, attention, statistics=["hellinger"])
    for path in (heads, pairs):
        table = pd.read_parquet(path)
        table["layer"] = (table["layer"] * 4 + 3).astype("int16")
        write_table(table, path, METADATA)
    evaluate(heads, pairs, tmp_path / "f", tmp_path / "s", Specialization(estimators=["hellinger"]), 1)
    summary = pd.read_parquet(tmp_path / "s")
    assert summary[summary.scope == "layer"]["layer"].tolist() == [3, 7, 11] * 2


def rewrite(path, change, metadata=None):
    write_table(change(pd.read_parquet(path)), path, METADATA | (metadata or {}))


@pytest.mark.parametrize(
    ("file", "change", "metadata", "message"),
    [
        (
            1,
            lambda t: t,
            {"weights_digest": "w2"},
            "come from different measurements: their weights_digest is 'w1' and 'w2'",
        ),
        (0, lambda t: t.drop(index=5), None, "heads.parquet: rows are not one per prompt, layer, head"),
        (0, lambda t: t.iloc[::-1].reset_index(drop=True), None, "do not hold the same prompts and layers"),
        (0, lambda t: t.iloc[:0], None, "heads.parquet holds no rows"),
        (
            0,
            lambda t: t.assign(tokens=t.tokens + 1),
            None,
            "prompt 'prompt 0', layer 0: row_entropy_nats has",
        ),
        (1, lambda t: t.drop(columns="hellinger"), None, "extraction computed no pair statistic 'hellinger'"),
        (
            1,
            lambda t: t.assign(heads=t.heads, hellinger=[x[:-1] for x in t.hellinger]),
            None,
            "hellinger has 5 values, expected 6",
        ),
    ],
)
def test_tables_that_do_not_fit_are_refused(attention, tmp_path, file, change, metadata, message):
    paths = write_measured(tmp_path, attention, statistics=["hellinger"])
    rewrite(paths[file], change, metadata)
    with pytest.raises(ValueError, match=message):
        evaluate(*paths, tmp_path / "f", tmp_path / "s", Specialization(estimators=["hellinger"]), 1)
    assert not (tmp_path / "f").exists()
