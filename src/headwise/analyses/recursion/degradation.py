"""What becomes of a text that is fed back to its model: its variety, its loops, and when it counts as degraded."""

from collections import Counter
from collections.abc import Sequence

from headwise.analyses.recursion.settings import Degradation

Tokens = Sequence[int]


def distinct(tokens: Tokens, n: int) -> float | None:
    """Different n-grams over all n-grams of a text, within 0…1 (Li et al. 2016); None below n tokens."""
    grams = _grams(tokens, n)
    return len(set(grams)) / len(grams) if grams else None


def longest_repeated_span(tokens: Tokens) -> int:
    """Tokens of the longest span that occurs twice in a text; the two may overlap, as they do in a loop.

    From 0 (all tokens differ) to one less than the length (one token over and over).
    """
    longest, previous = 0, [0] * len(tokens)
    for end in range(1, len(tokens)):
        # Length of the common suffix of tokens[: end + 1] and tokens[: other + 1], for every earlier end.
        current = [0] * len(tokens)
        for other in range(end):
            if tokens[other] == tokens[end]:
                current[other] = (previous[other - 1] if other else 0) + 1
                longest = max(longest, current[other])
        previous = current
    return longest


def repeated_share(tokens: Tokens) -> float | None:
    """The longest repeated span over the longest that there can be, within 0…1; None below two tokens."""
    return longest_repeated_span(tokens) / (len(tokens) - 1) if len(tokens) > 1 else None


def similarity(tokens: Tokens, other: Tokens) -> float | None:
    """Bigrams that two texts share over those that either has, counted as often as they occur, within 0…1 (Jaccard).

    None where neither has a bigram.
    """
    one, two = Counter(_grams(tokens, 2)), Counter(_grams(other, 2))
    either = (one | two).total()
    return (one & two).total() / either if either else None


def is_degraded(tokens: Tokens, criterion: Degradation) -> bool | None:
    """Whether a generation is degraded: too few different bigrams, or too long a repeated span.

    None below two tokens: a text that ends at once, as an end-of-text token makes it, is no loop, and the criterion
    says nothing about it.
    """
    variety, loop = distinct(tokens, 2), repeated_share(tokens)
    if variety is None or loop is None:
        return None
    return variety < criterion.distinct_2_below or loop > criterion.repeated_share_above


def onset(degraded: Sequence[bool], generations: int, consecutive: int) -> tuple[int, bool]:
    """When a chain degrades: generation (from 1) and whether it happened.

    degraded     of each generation that a chain wrote; fewer than `generations` where it ended before
    generations  that the chain was meant to have
    consecutive  generations in a row that must be degraded

    The onset is the first generation of the first such run. A chain without onset is censored at the last generation
    that could have begun one: `consecutive` − 1 before the last that it wrote, 0 where it wrote too few.
    """
    last = max(0, min(len(degraded), generations) - consecutive + 1)
    for start in range(last):
        if all(degraded[start : start + consecutive]):
            return start + 1, True
    return last, False


def _grams(tokens: Tokens, n: int) -> list[tuple[int, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
