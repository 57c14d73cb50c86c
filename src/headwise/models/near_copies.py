"""Which training documents are near copies of held-out ones, and how much held-out text training sees all the same.

Texts are compared by their spans: 50 letters and digits in a row, about ten words, whatever spaces, line breaks,
punctuation and capitals lie between them.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

SPAN = 50
# Of the spans that either of two documents has, the share in both from which they are near copies (resemblance:
# Broder 1997); of the spans of all held-out text, the share from which it is not held out any more.
ALIKE = 0.5
# Spans that are kept, of all held-out text and of one document; where there are more, a sample of all spans that is the
# same in every document.
MOST_SPANS = 4_000_000
# Letters of a document that are hashed at once.
LETTERS_AT_ONCE = 1 << 20
# Held-out documents that a span is looked up in: one that stands in more of them is a licence or a menu.
MOST_OWNERS = 50

Spans = npt.NDArray[np.uint64]
# Odd numbers that spread what they multiply over 64 bits (Steele et al. 2014: SplitMix64).
_BASE, _MIX = 0x9E3779B97F4A7C15, np.uint64(0xBF58476D1CE4E5B9)


class HeldOut:
    """The spans of held-out documents, which training documents are compared with one after another."""

    def __init__(self, documents: Iterable[tuple[str, str]], characters: int) -> None:
        """`documents` are (id, text), one at least; `characters` is how many they hold together, or any document of the
        corpus if that is more."""
        self.one_in = max(1, -(-characters // MOST_SPANS))
        self.ids: list[str] = []
        spans: list[Spans] = []
        for identity, text in documents:
            self.ids.append(identity)
            spans.append(text_spans(text, self.one_in))
        self.sizes = np.array([len(each) for each in spans])
        hashes = np.concatenate(spans)
        order = np.argsort(hashes, kind="stable")
        self.owners = np.repeat(np.arange(len(spans)), self.sizes)[order]
        self.spans, self.starts, self.counts = np.unique(hashes[order], return_index=True, return_counts=True)
        self.seen = np.zeros(len(self.spans), dtype=bool)

    def is_near_copy(self, text: str) -> bool:
        """Whether a training document is a near copy of a held-out one; if not, its spans count as seen in training."""
        spans = text_spans(text, self.one_in)
        # As long as the document, not as all of the held-out text: there may be millions of either.
        places = np.searchsorted(self.spans, spans)
        places = places[self.spans[np.minimum(places, len(self.spans) - 1)] == spans] if len(self.spans) else places[:0]
        counts = np.minimum(self.counts[places], MOST_OWNERS)
        # The owners of each shared span stand at starts, starts + 1, …: counts of them.
        within = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        owners, both = np.unique(self.owners[np.repeat(self.starts[places], counts) + within], return_counts=True)
        if (both >= ALIKE * (len(spans) + self.sizes[owners] - both)).any():
            return True
        self.seen[places] = True
        return False

    def seen_in_training(self) -> tuple[float, str]:
        """The share of the spans that stand in training documents, and the id of the document with most of them."""
        seen = np.repeat(self.seen, self.counts)
        own = np.bincount(self.owners[seen], minlength=len(self.ids))
        return float(seen.mean()) if len(seen) else 0.0, self.ids[int(own.argmax())]


def text_spans(text: str, one_in: int = 1) -> Spans:
    """Hashes of a text's spans, sorted, each once: all, or about one in so many. A shorter text is one span."""
    letters = re.sub(r"[\W_]+", "", text.casefold())
    width = min(SPAN, len(letters))
    found = []
    for start in range(0, len(letters) - width + 1, LETTERS_AT_ONCE):
        hashes = _hashes(letters[start : start + LETTERS_AT_ONCE + width - 1], width)
        found.append(hashes[hashes % np.uint64(one_in) == 0])
    return np.unique(np.concatenate(found))


def _hashes(letters: str, width: int) -> Spans:
    """A hash of each `width` letters in a row."""
    codes = np.frombuffer(letters.encode("utf-32-le"), dtype="<u4").astype(np.uint64)
    # That from place i is the sum over k of code i + k times base ** k, modulo 2 ** 64: a difference of two sums from
    # the beginning, over base ** i.
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(codes * _powers(_BASE, len(codes)))])
    hashes = sums[width:] - sums[: len(sums) - width]
    hashes *= _powers(pow(_BASE, -1, 2**64), len(hashes))
    hashes = (hashes ^ (hashes >> np.uint64(32))) * _MIX
    return hashes ^ (hashes >> np.uint64(29))


def _powers(base: int, count: int) -> Spans:
    return _all_powers(base, 1 << count.bit_length())[:count]


@lru_cache(maxsize=64)
def _all_powers(base: int, count: int) -> Spans:
    """The powers of a number from 0 on, modulo 2 ** 64."""
    return np.cumprod(np.concatenate([np.ones(1, np.uint64), np.full(count - 1, base, np.uint64)]))
