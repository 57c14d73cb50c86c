"""Stability of heads across refits, against the definitions as plain loops and against known answers."""

from contextlib import ExitStack
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stability_examples import compare, compare_attention, cosine, random_attention, write_refit

from headwise.analyses.stability.cosines import MEASURES, OTHER, SAME, WHOLE, View
from headwise.analyses.stability.heads import (
    commonness,
    matched_stability,
    published_commonness,
    published_cross_layer,
    published_stability,
)
from headwise.analyses.stability.matching import best_match, one_to_one
from headwise.analyses.stability.packed import StabilityError, packed_attention

TOKENS = {"a": 7, "b": 5, "c": 9}
LAYERS, HEADS, REFITS = 2, 3, 3


@pytest.fixture(scope="module", params=[True, False], ids=["causal", "encoder"])
def example(request, tmp_path_factory):
    """Three refits with their cosines, and whether they are causal."""
    tokens = TOKENS if request.param else dict.fromkeys(TOKENS, 6)
    refits = [random_attention(seed, tokens, LAYERS, HEADS, request.param) for seed in range(REFITS)]
    return refits, compare_attention(tmp_path_factory.mktemp("refits"), refits, request.param), request.param


def mean_cosine(refits, one, two, causal, measure="cosine"):
    """Mean over prompts of the cosine of head `one` with head `two`, each (refit, layer, head)."""
    values = [
        cosine(refits[one[0]][prompt][one[1:]], refits[two[0]][prompt][two[1:]], measure, causal)
        for prompt in refits[0]
    ]
    return sum(values) / len(values)


# -- brute force


def test_the_published_stability_is_its_definition(example):
    refits, cosines, causal = example
    expected = np.zeros((LAYERS, HEADS))
    for layer in range(LAYERS):
        for head in range(HEADS):
            for other in range(1, REFITS):
                candidates = [
                    mean_cosine(refits, (0, layer, head), (other, layer, each), causal) for each in range(HEADS)
                ]
                expected[layer, head] += max(candidates) / (REFITS - 1)
    np.testing.assert_allclose(published_stability(cosines.same_layer[WHOLE, SAME]), expected, atol=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
def test_matched_stability_is_its_definition(example, measure):
    refits, cosines, causal = example
    found = matched_stability(cosines.same_layer[View(measure), SAME])
    for one in range(REFITS):
        for two in set(range(REFITS)) - {one}:
            for layer in range(LAYERS):
                table = [
                    [mean_cosine(refits, (one, layer, h), (two, layer, k), causal, measure) for k in range(HEADS)]
                    for h in range(HEADS)
                ]
                order = max(permutations(range(HEADS)), key=lambda order: sum(table[h][order[h]] for h in range(HEADS)))
                expected = [table[h][order[h]] for h in range(HEADS)]
                np.testing.assert_allclose(found[one, two, layer], expected, atol=1e-6)
    assert np.isnan(found[range(REFITS), range(REFITS)]).all()


def test_cross_layer_stability_and_origin_are_their_definition(example):
    refits, cosines, causal = example
    values, origins = published_cross_layer(cosines.across)
    for layer in range(LAYERS):
        for head in range(HEADS):
            best = []
            for other in range(REFITS):
                candidates = [
                    (mean_cosine(refits, (0, layer, head), (other, place, each), causal), place)
                    for place in range(LAYERS)
                    for each in range(HEADS)
                ]
                best.append(max(candidates))
            assert values[layer, head] == pytest.approx(np.mean([value for value, _ in best[1:]]), abs=1e-6)
            assert origins[:, layer, head].tolist() == [place for _, place in best]


def test_one_to_one_origins_use_each_head_of_the_other_refit_once(example):
    refits, cosines, causal = example
    table = np.array(
        [
            [mean_cosine(refits, (0, i, h), (1, j, k), causal) for j in range(LAYERS) for k in range(HEADS)]
            for i in range(LAYERS)
            for h in range(HEADS)
        ]
    )
    heads = range(LAYERS * HEADS)
    order = max(permutations(heads), key=lambda order: table[heads, order].sum())
    expected = table[heads, order].reshape(LAYERS, HEADS)
    np.testing.assert_allclose(cosines.across.matched[0, 1], expected, atol=1e-6)
    np.testing.assert_array_equal(cosines.across.matched_layer[0, 1].ravel(), np.array(order) // HEADS)


def test_commonness_is_its_definition_with_and_without_the_head_itself(example):
    refits, cosines, causal = example
    same = cosines.same_layer[WHOLE, SAME]
    for refit in range(REFITS):
        for layer in range(LAYERS):
            for head in range(HEADS):
                values = [mean_cosine(refits, (refit, layer, head), (refit, layer, k), causal) for k in range(HEADS)]
                if refit == 0:
                    found = published_commonness(same)[layer, head]
                    assert found == pytest.approx(np.mean(values), abs=1e-6)
                others = np.delete(values, head)
                assert commonness(same)[refit, layer, head] == pytest.approx(others.mean(), abs=1e-6)


def test_the_chance_level_compares_neighbouring_prompts_cut_to_the_shorter(example):
    refits, cosines, causal = example
    order = sorted(refits[0], key=lambda prompt: refits[0][prompt].shape[-1])
    for h in range(HEADS):
        for k in range(HEADS):
            values = []
            for first, second in pairwise(order):
                cut = min(refits[0][prompt].shape[-1] for prompt in (first, second))
                for one, two in ((first, second), (second, first)):
                    patterns = refits[1][one][1, h, :cut, :cut], refits[2][two][1, k, :cut, :cut]
                    values.append(cosine(*patterns, causal=causal))
            found = cosines.same_layer[WHOLE, OTHER][1, 2, 1, h, k]
            assert found == pytest.approx(np.mean(values), abs=1e-6)
    assert cosines.prompts[WHOLE, SAME] == 3
    assert cosines.prompts[WHOLE, OTHER] == 2


# -- known answers


def test_a_refit_against_its_copy_is_exactly_one(tmp_path):
    refit = random_attention(1, TOKENS)
    cosines = compare_attention(tmp_path, [refit, refit])
    same = cosines.same_layer[WHOLE, SAME]
    assert (published_stability(same) == 1).all()
    assert (matched_stability(same)[0, 1] == 1).all()
    assert (published_cross_layer(cosines.across)[0] == 1).all()
    assert (cosines.across.matched_layer[0, 1] == [[0] * 3, [1] * 3]).all()


def test_the_order_of_heads_does_not_matter(tmp_path):
    refit = random_attention(1, TOKENS)
    shuffled = {prompt: weights[:, [2, 0, 1]] for prompt, weights in refit.items()}
    cosines = compare_attention(tmp_path, [refit, shuffled])
    assert (matched_stability(cosines.same_layer[WHOLE, SAME])[0, 1] == 1).all()
    same = cosines.same_layer[WHOLE, SAME]
    np.testing.assert_allclose(commonness(same)[0][:, [2, 0, 1]], commonness(same)[1], atol=1e-12)


def test_greedy_matching_lets_two_heads_share_a_partner():
    """A refit whose heads are all alike looks stable under greedy matching, and is not."""
    cosines = np.array([[1.0, 0.2], [0.9, 0.1]])
    assert best_match(cosines)[0].tolist() == [1.0, 0.9]
    assert one_to_one(cosines)[0].sum() == pytest.approx(1.1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_one_to_one_is_the_best_permutation_and_never_above_greedy(seed, heads):
    cosines = np.random.default_rng(seed).uniform(-1, 1, (heads, heads))
    values, partner = one_to_one(cosines)
    assert sorted(partner) == list(range(heads))
    best = max(sum(cosines[h, order[h]] for h in range(heads)) for order in permutations(range(heads)))
    assert values.sum() == pytest.approx(best)
    assert (values <= best_match(cosines)[0]).all()


def test_a_pair_without_a_cosine_is_matched_last():
    cosines = np.array([[np.nan, 0.1], [0.9, np.nan]])
    assert one_to_one(cosines)[1].tolist() == [1, 0]
    values, partner = one_to_one(np.array([[np.nan, np.nan], [0.3, 0.9]]))
    assert np.isnan(values[0])
    assert (partner[0], partner[1], values[1]) == (-1, 1, 0.9)
    assert np.isnan(best_match(np.array([np.nan, np.nan]))[0])


def test_a_single_head_has_no_commonness(tmp_path):
    refit = random_attention(1, TOKENS, heads=1)
    same = compare_attention(tmp_path, [refit, random_attention(2, TOKENS, heads=1)]).same_layer[WHOLE, SAME]
    assert np.isnan(commonness(same)).all()
    assert (published_commonness(same) == 1).all()


def test_uniform_attention_has_no_direction_once_rows_are_centred(tmp_path):
    uniform = {"a": np.tril(np.ones((1, 2, 4, 4))) / np.arange(1, 5)[:, None]}
    uniform["b"] = random_attention(0, {"b": 4}, 1, 2)["b"]
    cosines = compare_attention(tmp_path, [uniform, uniform])
    centred = View("cosine_row_centred")
    assert cosines.left_out[centred].tolist() == [2, 2]
    assert cosines.left_out[WHOLE].tolist() == [0, 0]
    assert (matched_stability(cosines.same_layer[centred, SAME])[0, 1] == 1).all()
    nothing = {"a": uniform["a"]}
    cosines = compare_attention(tmp_path, [nothing, nothing])
    assert np.isnan(cosines.same_layer[centred, SAME]).all()


# -- beginnings of prompts, memory


def test_the_first_words_of_a_prompt_are_a_prompt_of_their_own(tmp_path):
    refits = [random_attention(seed, TOKENS) for seed in range(REFITS)]
    beginnings = {"a": 4, "c": 6}
    found = compare_attention(tmp_path, refits, words={2: beginnings}).same_layer
    cut = [
        {
            prompt: weights[:, :, : beginnings[prompt], : beginnings[prompt]]
            for prompt, weights in refit.items()
            if prompt in beginnings
        }
        for refit in refits
    ]
    expected = compare_attention(tmp_path, cut).same_layer
    for pairing in (SAME, OTHER):
        np.testing.assert_allclose(found[View("cosine", 2), pairing], expected[WHOLE, pairing], atol=1e-12)


def test_blocks_of_refits_give_what_one_pass_gives(tmp_path):
    tokens = {"a": 40, "b": 30}
    paths = [write_refit(tmp_path / f"{seed}.parquet", random_attention(seed, tokens, 1, 2)) for seed in range(5)]
    whole, blocks = compare(paths), compare(paths, memory_mb=0.4)
    for key, values in whole.same_layer.items():
        np.testing.assert_allclose(blocks.same_layer[key], values, atol=1e-12)
    np.testing.assert_allclose(blocks.across.best, whole.across.best, atol=1e-12)
    np.testing.assert_array_equal(blocks.across.matched_layer, whole.across.matched_layer)
    assert blocks.prompts == whole.prompts
    with pytest.raises(StabilityError, match=r"two refits on a prompt of 40 tokens do not fit into 0.01 MB: raise"):
        compare(paths, memory_mb=0.01)


def test_a_prompt_may_lie_in_several_row_groups_or_share_one(tmp_path, monkeypatch):
    refits = [random_attention(seed, TOKENS, layers=3) for seed in range(2)]
    expected = compare_attention(tmp_path, refits).same_layer[WHOLE, SAME]
    monkeypatch.setattr("headwise.attention.store.BUFFER_BYTES", 1)
    found = compare_attention(tmp_path, refits)
    np.testing.assert_array_equal(found.same_layer[WHOLE, SAME], expected)
    with packed_attention(tmp_path / "refit0.parquet") as refit:
        assert refit.parquet.num_row_groups > len(refit.prompts)


# -- refusals


@pytest.mark.parametrize(
    ("other", "facts", "message"),
    [
        ({"layers": 3}, {}, r"refit0.parquet and .*refit1.parquet have different attention layers \(2 and 3\)"),
        ({"heads": 2}, {}, r"different heads per layer \(3 and 2\), and refits have the same shape"),
        ({}, {"tokens_digest": "u"}, r"read different tokens: their tokenizers, templates or prompts differ"),
    ],
)
def test_refits_that_do_not_belong_together_are_refused_by_name(tmp_path, other, facts, message):
    paths = [
        write_refit(tmp_path / "refit0.parquet", random_attention(0, TOKENS)),
        write_refit(tmp_path / "refit1.parquet", random_attention(1, TOKENS, **other), **facts),
    ]
    with pytest.raises(StabilityError, match=message):
        compare(paths)


def test_other_prompts_another_support_or_a_single_refit_are_refused(tmp_path):
    causal = write_refit(tmp_path / "causal.parquet", random_attention(0, TOKENS))
    encoder = write_refit(tmp_path / "encoder.parquet", random_attention(0, TOKENS, causal=False), causal=False)
    renamed = write_refit(tmp_path / "renamed.parquet", random_attention(0, {"x": 7, "b": 5, "c": 9}))
    with pytest.raises(StabilityError, match=r"different support \(causal and full\)"):
        compare([causal, encoder])
    with pytest.raises(StabilityError, match="hold different prompts: extract both again"):
        compare([causal, renamed])
    with pytest.raises(StabilityError, match=r"causal.parquet: one refit has nothing to be compared with"):
        compare([causal])


def test_a_file_with_missing_rows_is_refused(tmp_path):
    import pyarrow.parquet

    path = write_refit(tmp_path / "whole.parquet", random_attention(0, TOKENS))
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.slice(0, table.num_rows - 1), tmp_path / "cut.parquet")
    with ExitStack() as files, pytest.raises(StabilityError, match=r"cut.parquet: rows are not one per prompt, layer"):
        files.enter_context(packed_attention(tmp_path / "cut.parquet"))
