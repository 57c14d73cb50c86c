"""How many tokens the first words of a prompt are: attention on these is the beginning of that on all of it."""

from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from headwise.analyses.stability.group_rows import Beginning
from headwise.models.encoding import Encoder
from headwise.study.extraction import Extraction
from headwise.study.prompts import EncodedPrompt, Prompt


def beginnings(
    texts: Sequence[Prompt],
    encoded: Sequence[EncodedPrompt],
    tokenizer: PreTrainedTokenizerBase,
    extraction: Extraction,
    lengths: Sequence[int],
) -> Iterator[Beginning]:
    """How many tokens the first words of each prompt are, where those are the first tokens of the whole prompt.

    Prompts with fewer words are left out, and so is a length in a template, which closes what it opens.
    """
    if extraction.template != "raw":
        return
    encoder = Encoder.of(tokenizer)
    for words in lengths:
        for text, whole in zip(texts, encoded, strict=True):
            parts = text.text.split()
            if len(parts) < words:
                continue
            beginning = text.text[: _end_of_word(text.text, words)]
            ids = encoder.raw(beginning, extraction.first_token)
            # Encoders close a text with a token that the whole text has elsewhere.
            if whole.token_ids[: len(ids)] == ids:
                yield Beginning(words=words, prompt=text.id, tokens=len(ids))


def _end_of_word(text: str, words: int) -> int:
    """Where the first so many words of a text end."""
    place = 0
    for word in text.split()[:words]:
        place = text.index(word, place) + len(word)
    return place
