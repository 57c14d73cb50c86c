"""Variety, loops and onset, against plain definitions."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwise.analyses.recursion.degradation import (
    distinct,
    is_degraded,
    longest_repeated_span,
    onset,
    repeated_share,
    similarity,
)
from headwise.analyses.recursion.settings import Degradation

texts = st.lists(st.integers(0, 3), max_size=14)


def test_closed_forms():
    loop, prose = [1, 2, 3, 4] * 8, list(range(32))
    assert distinct(loop, 1) == 4 / 32
    assert distinct(loop, 2) == 4 / 31
    assert distinct(prose, 1) == distinct(prose, 2) == 1
    assert longest_repeated_span(loop) == 28
    assert longest_repeated_span([5] * 32) == 31
    assert longest_repeated_span(prose) == 0
    assert (repeated_share([5] * 32), repeated_share(prose)) == (1, 0)
    assert similarity(prose, prose) == 1
    assert similarity(prose, prose[::-1]) == 0
    assert similarity([1, 2, 3], [1, 2, 4]) == pytest.approx(1 / 3)


def test_too_short_texts_have_no_value():
    assert distinct([], 1) is distinct([1], 2) is repeated_share([1]) is similarity([1], [2]) is None
    assert longest_repeated_span([]) == 0


@given(texts)
def test_the_longest_repeated_span_is_the_longest_of_all_spans_that_occur_twice(tokens):
    spans = [tuple(tokens[start:end]) for start, end in itertools.combinations(range(len(tokens) + 1), 2)]
    assert longest_repeated_span(tokens) == max((len(span) for span in spans if spans.count(span) > 1), default=0)


@given(texts, texts)
def test_similarity_counts_shared_bigrams(one, two):
    bigrams = [[tuple(text[place : place + 2]) for place in range(len(text) - 1)] for text in (one, two)]
    rest, shared = list(bigrams[1]), 0
    for bigram in bigrams[0]:
        if bigram in rest:
            rest.remove(bigram)
            shared += 1
    either = len(bigrams[0]) + len(bigrams[1]) - shared
    assert similarity(one, two) == (shared / either if either else None)


def test_a_generation_is_degraded_by_either_sign_and_undecided_without_a_bigram():
    criterion = Degradation(distinct_2_below=0.5, repeated_share_above=0.4)
    assert not is_degraded(list(range(20)), criterion)
    assert is_degraded([1, 2] * 10, criterion)
    # Ten tokens twice: most bigrams differ, but half of the text is a repetition.
    assert distinct([*range(10), *range(10)], 2) > 0.5
    assert is_degraded([*range(10), *range(10)], criterion)
    assert is_degraded([], criterion) is None
    assert is_degraded([3], criterion) is None
    assert is_degraded([3, 4], criterion) is False


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 4))
def test_onset_is_the_first_run_that_is_long_enough(degraded, consecutive):
    generations = len(degraded)
    if consecutive > generations:
        return
    runs = [start + 1 for start in range(generations - consecutive + 1) if all(degraded[start : start + consecutive])]
    expected = (runs[0], True) if runs else (generations - consecutive + 1, False)
    assert onset(degraded, generations, consecutive) == expected


def test_a_chain_that_ended_is_censored_where_a_run_could_have_begun_last():
    assert onset([False, True], 10, 3) == (0, False)
    assert onset([False] * 5 + [True, True], 10, 3) == (5, False)
    assert onset([False] * 9 + [True], 10, 3) == (8, False)
    assert onset([True] * 3, 10, 3) == (1, True)
    assert onset([], 10, 3) == (0, False)
