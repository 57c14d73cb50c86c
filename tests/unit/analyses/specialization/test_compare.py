"""Comparisons of an aligned model with its base, against computation by hand from the features."""

from itertools import product

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import scipy.stats
from specialization_examples import write_features, write_prompts

from headwise.analyses.specialization.compare import compare_pair
from headwise.analyses.specialization.estimators import entropy_profile
from headwise.runtime.parquet import read_metadata
from headwise.study.comparison import Comparison

pytestmark = pytest.mark.filterwarnings("error")

PROMPTS = [f"p{number}" for number in range(8)]
DOMAINS = dict(zip(PROMPTS, "aabbccdd", strict=True))
COLUMNS = [
    *("base", "aligned", "family", "method", "scope", "seed", "estimator", "sink", "level", "layer"),
    *("base_value", "aligned_value", "delta_absolute", "delta_relative", "ci_low", "ci_high"),
    *("p", "p_attainable", "n", "unit", "test", "p_domains", "p_domains_attainable"),
    *("p_equivalence", "equivalence_margin", "reason"),
]
NAMES = {"base": "base", "aligned": "base-sft", "family": "base", "method": "sft"}
SETTINGS = Comparison(resamples=499, equivalence_margin=0.05)


def random_features(seed, shift=0.0):
    rng = np.random.default_rng(seed)
    return {
        ("hellinger", "kept"): rng.uniform(0.3, 0.4, size=(8, 3, 1)) + shift,
        ("entropy_profile", "kept"): rng.uniform(size=(8, 3, 4)),
    }


def compare(folder, pairs, settings=SETTINGS, names=NAMES, domains=DOMAINS, metadata=None, aligned_metadata=None):
    """Write features of (base, aligned) pairs, one per seed 1, 2, …; compare them; return the table."""
    folder.mkdir(exist_ok=True)
    base, aligned = [], []
    for seed, (before, after) in enumerate(pairs, 1):
        ours = {"weights_digest": f"base {seed}"} | (metadata or {})
        theirs = {"weights_digest": f"aligned {seed}"} | (aligned_metadata or metadata or {})
        base.append(write_features(folder / f"base{seed}.parquet", before, PROMPTS, ours))
        aligned.append(write_features(folder / f"aligned{seed}.parquet", after, PROMPTS, theirs))
    prompts = write_prompts(folder / "prompts.jsonl", domains)
    seeds = range(1, len(base) + 1)
    compare_pair(base, aligned, list(seeds), prompts, folder / "c.parquet", names=names, settings=settings)
    return pd.read_parquet(folder / "c.parquet")


def pick(table, estimator="hellinger", level="model", scope="refit", seed=1):
    chosen = table[(table.estimator == estimator) & (table.level == level) & (table.scope == scope)]
    return chosen if scope == "refits" else chosen[chosen.seed == seed]


def test_columns_and_types(tmp_path):
    compare(tmp_path, [(random_features(1), random_features(2))])
    schema = pq.read_schema(tmp_path / "c.parquet")
    assert schema.names == COLUMNS
    assert (str(schema.field("seed").type), str(schema.field("layer").type)) == ("int64", "int16")
    assert read_metadata(tmp_path / "c.parquet")["refits"] == [1]


def test_a_model_against_itself_has_not_changed(tmp_path):
    features = random_features(1)
    table = compare(tmp_path, [(features, features)])
    assert (table["delta_absolute"] == 0).all()
    assert (table["p"] == 1).all()
    within = table[table.scope == "refit"]
    assert (within["ci_low"] == 0).all()
    assert (within["ci_high"] == 0).all()
    assert pick(table)["p_equivalence"].item() == 0


def test_changes_within_a_refit_by_hand(tmp_path):
    before, after = random_features(1), random_features(2, shift=0.02)
    table = compare(tmp_path, [(before, after)])
    base, aligned = before["hellinger", "kept"][..., 0], after["hellinger", "kept"][..., 0]
    cases = [(pick(table).iloc[0], base.mean(axis=1), aligned.mean(axis=1))]
    cases += [(pick(table, level="layer").iloc[layer], base[:, layer], aligned[:, layer]) for layer in range(3)]
    for row, ours, theirs in cases:
        differences = theirs - ours
        assert row.base_value == pytest.approx(ours.mean())
        assert row.aligned_value == pytest.approx(theirs.mean())
        assert row.delta_absolute == pytest.approx(differences.mean())
        assert row.delta_relative == pytest.approx(differences.mean() / ours.mean())
        flips = np.array(list(product((1, -1), repeat=8)))
        null = np.abs(flips @ differences)
        assert row.p == np.mean(null >= null[0] - 1e-12)
        assert (row.n, row.unit, row.p_attainable) == (8, "prompt", 2**-7)
        assert row.ci_low < row.delta_absolute < row.ci_high


def test_entropy_profile_is_tested_by_swapping_labels_of_prompts(tmp_path):
    before, after = random_features(1), random_features(2)
    row = pick(compare(tmp_path, [(before, after)]), "entropy_profile").iloc[0]
    base, aligned = before["entropy_profile", "kept"], after["entropy_profile", "kept"]
    null = []
    for swaps in product((False, True), repeat=8):
        swap = np.array(swaps)[:, None, None]
        a, b = np.where(swap, aligned, base), np.where(swap, base, aligned)
        null.append(entropy_profile.summary(b.mean(axis=0)) - entropy_profile.summary(a.mean(axis=0)))
    assert row.delta_absolute == pytest.approx(null[0])
    assert row.p == np.mean(np.abs(null) >= abs(null[0]) - 1e-12)


def test_an_estimator_without_values_of_layers_has_model_rows_alone(tmp_path):
    table = compare(tmp_path, [(random_features(1), random_features(2))])
    assert pick(table, "entropy_profile", "layer").empty
    assert len(pick(table, "hellinger", "layer")) == 3


def test_intervals_resample_domains_or_prompts_where_there_is_one_domain(tmp_path):
    pair = (random_features(1), random_features(2))
    clustered = pick(compare(tmp_path / "four", [pair])).iloc[0]
    assert clustered.test.endswith("interval: Student's t with the jackknife error, 4 prompt domains")
    alone = pick(compare(tmp_path / "one", [pair], domains=dict.fromkeys(PROMPTS, "a"))).iloc[0]
    assert alone.test.endswith("interval: Student's t with the jackknife error, 8 prompts")


def test_labels_of_whole_domains_are_swapped_beside_those_of_prompts(tmp_path):
    before, after = random_features(1), random_features(2)
    row = pick(compare(tmp_path / "four", [(before, after)])).iloc[0]
    differences = (after["hellinger", "kept"] - before["hellinger", "kept"]).mean(axis=(1, 2))
    sums = np.abs(np.array(list(product((1, -1), repeat=4))) @ differences.reshape(4, 2).sum(axis=1))
    assert row.p_domains == np.mean(sums >= sums[0] - 1e-12)
    assert row.p_domains_attainable == 1 / 8
    alone = pick(compare(tmp_path / "one", [(before, after)], domains=dict.fromkeys(PROMPTS, "a"))).iloc[0]
    assert np.isnan(alone.p_domains)


def test_equivalence_is_tested_for_the_primary_estimator_of_the_model(tmp_path):
    before, after = random_features(1), random_features(2)
    table = compare(tmp_path, [(before, after)])
    tested = table[table["equivalence_margin"].notna()]
    assert tested[["estimator", "level", "scope"]].values.tolist() == [
        ["hellinger", "model", "refit"],
        ["hellinger", "model", "refits"],
    ]
    differences = (after["hellinger", "kept"] - before["hellinger", "kept"]).mean(axis=(1, 2))
    by_domain = differences.reshape(4, 2).mean(axis=1)  # domains of equal size: clustered errors are those of means
    error = by_domain.std(ddof=1) / 2
    expected = scipy.stats.t.sf((0.05 - abs(differences.mean())) / error, 3)
    assert tested["p_equivalence"].iloc[0] == pytest.approx(expected)


def test_no_equivalence_test_where_single_prompts_have_no_value(tmp_path):
    chosen = SETTINGS.model_copy(update={"primary": "entropy_profile"})
    row = pick(compare(tmp_path, [(random_features(1), random_features(2))], chosen), "entropy_profile").iloc[0]
    assert np.isnan(row.p_equivalence)
    assert "no value for a single prompt" in row.reason


def test_changes_over_refits_by_hand(tmp_path):
    pairs = [(random_features(seed), random_features(seed + 10, shift=0.2)) for seed in (1, 2, 3)]
    table = compare(tmp_path, pairs)
    within = np.array([pick(table, seed=seed)["delta_absolute"].item() for seed in (1, 2, 3)])
    row = pick(table, scope="refits").iloc[0]
    assert row.delta_absolute == pytest.approx(within.mean())
    assert row.delta_relative == pytest.approx(within.mean() / row.base_value)
    assert (row.p, row.p_attainable, row.n, row.unit) == (0.25, 0.25, 3, "refit")
    half = scipy.stats.t.ppf(0.975, 2) * within.std(ddof=1) / np.sqrt(3)
    assert (row.ci_low, row.ci_high) == pytest.approx((within.mean() - half, within.mean() + half))
    assert pd.isna(row.seed)
    assert len(pick(table, level="layer", scope="refits")) == 3


def test_seeds_that_change_no_weights_are_no_refits(tmp_path):
    pair = (random_features(1), random_features(2))
    table = compare(tmp_path, [pair] * 3, metadata={"weights_digest": "w"}, aligned_metadata={"weights_digest": "v"})
    row = pick(table, scope="refits").iloc[0]
    assert (row.n, row.p) == (1, 1)
    assert np.isnan(row.ci_low)
    assert row.reason.startswith("same weights as an earlier seed, not counted: seed 2, 3; one unit")
    assert read_metadata(tmp_path / "c.parquet")["refits"] == [1]


def test_undefined_features_are_left_out_of_both_models(tmp_path):
    before, after = random_features(1), random_features(2)
    before["hellinger", "kept"][0] = np.nan
    after["hellinger", "kept"][1, 2] = np.nan
    row = pick(compare(tmp_path, [(before, after)])).iloc[0]
    base = before["hellinger", "kept"][1:, :, 0]
    assert row.n == 7
    assert row.base_value == pytest.approx(np.mean([*base[:, :2].mean(axis=0), base[1:, 2].mean()]))
    assert "units without a finite value, left out: 1" in row.reason


def test_what_is_undefined_everywhere_is_null_with_a_reason(tmp_path):
    nothing = {("hellinger", "kept"): np.full((8, 3, 1), np.nan)}
    table = compare(tmp_path, [(nothing, nothing)])
    assert table[["base_value", "delta_absolute", "ci_low", "p", "p_attainable", "p_equivalence"]].isna().all(axis=None)
    assert table["reason"].notna().all()
    zero = {("hellinger", "kept"): np.zeros((8, 3, 1))}
    table = compare(tmp_path, [(zero, zero)])
    assert table["delta_relative"].isna().all()
    assert (table["delta_absolute"] == 0).all()


@pytest.mark.parametrize(
    ("field", "words"),
    [("template", "templates differ"), ("first_token", "first tokens differ"), ("dtype", "dtypes differ")],
)
def test_a_second_factor_is_named(tmp_path, field, words):
    pair = (random_features(1), random_features(2))
    table = compare(tmp_path, [pair], metadata={field: "one"}, aligned_metadata={field: "other"})
    assert table["reason"].str.startswith(f"{words}: confounded").all()
    assert table["p"].notna().all()


def test_prompts_that_became_other_tokens_are_refused_unless_templates_differ(tmp_path):
    pair = (random_features(1), random_features(2))
    other = {"tokens_digest": "other"}
    refusal = r"base and base-sft, seed 1, cannot be compared: their prompts became different tokens"
    with pytest.raises(ValueError, match=refusal + r"\. Give"):
        compare(tmp_path, [pair], aligned_metadata=other)
    longer = other | {"tokens_per_prompt": [5, 5, 6, 5, 5, 5, 5, 5]}
    with pytest.raises(ValueError, match=refusal + r" \(prompt 'p2': 5 and 6\)"):
        compare(tmp_path, [pair], aligned_metadata=longer)
    assert len(compare(tmp_path, [pair], aligned_metadata=longer | {"template": "chat"}))


def test_models_measured_on_other_prompts_are_refused(tmp_path):
    pair = (random_features(1), random_features(2))
    with pytest.raises(ValueError, match=r"base and base-sft, seed 1, cannot .* is one and other"):
        compare(tmp_path, [pair], metadata={"prompts_digest": "one"}, aligned_metadata={"prompts_digest": "other"})


def test_features_that_do_not_fit_are_refused(tmp_path):
    before, after = random_features(1), random_features(2)
    fewer = {key: values[:, :2] for key, values in after.items()}
    with pytest.raises(ValueError, match="differ in layers or heads"):
        compare(tmp_path, [(before, fewer)])
    with pytest.raises(ValueError, match="hold different estimators"):
        compare(tmp_path, [(before, {("hellinger", "kept"): after["hellinger", "kept"]})])
    missing = {key: values[:-1] for key, values in after.items()}
    with pytest.raises(ValueError, match="prompt 'p7' is in one of them only"):
        compare(tmp_path, [(before, missing)])
    with pytest.raises(ValueError, match=r"prompts.jsonl has no prompt 'p0'"):
        compare(tmp_path, [(before, after)], domains={"q": "a"})


def test_rows_depend_neither_on_other_estimators_nor_on_other_seeds(tmp_path):
    settings = SETTINGS.model_copy(update={"resamples": 99})
    before, after = random_features(1), random_features(2)
    whole = compare(tmp_path / "whole", [(before, after), (random_features(3), random_features(4))], settings)
    key = ("hellinger", "kept")
    part = compare(tmp_path / "part", [({key: before[key]}, {key: after[key]})], settings)
    pd.testing.assert_frame_equal(
        pick(whole).reset_index(drop=True), pick(part).reset_index(drop=True), check_exact=True
    )


def test_the_same_input_gives_the_same_bytes(tmp_path):
    pair = (random_features(1), random_features(2))
    for name in "ab":
        compare(tmp_path / name, [pair])
    assert (tmp_path / "a/c.parquet").read_bytes() == (tmp_path / "b/c.parquet").read_bytes()
