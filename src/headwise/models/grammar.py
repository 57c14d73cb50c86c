"""Synthetic text from a small probabilistic grammar of English: training data without knowledge of the world.

Sentences agree in number over relative clauses that nest up to three deep, and a document speaks of a few things and
people again and again, so that there is something to attend to; who does what to whom is drawn at random.
"""

import random
from collections.abc import Iterator

DOCUMENTS = 600
PARAGRAPHS, SENTENCES = 6, 6
DEEPEST = 3  # relative clauses within relative clauses
RELATIVE = 0.35  # chance that a noun has a relative clause
ADJECTIVE, ADVERB, NAMED = 0.4, 0.3, 0.35

NAMES = ("Anna", "Bruno", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Irene", "Jonas", "Karla", "Leo")
NOUNS = (
    *("river", "engine", "letter", "garden", "student", "captain", "machine", "window", "bridge", "teacher", "village"),
    *("table", "signal", "farmer", "mountain", "painter", "number", "market", "island", "doctor", "story", "lamp"),
)
ADJECTIVES = ("old", "quiet", "small", "bright", "heavy", "green", "distant", "early", "simple", "strange", "warm")
ADVERBS = ("slowly", "often", "again", "quietly", "today", "first", "together", "never", "always", "almost")
# Third person singular; the plural drops the s.
TRANSITIVE = ("follows", "describes", "moves", "finds", "answers", "repairs", "remembers", "needs", "shows", "reads")
INTRANSITIVE = ("waits", "returns", "sleeps", "works", "falls", "begins", "travels", "stops")
LINKS = ("because", "while", "after", "before", "although")


def grammar_texts(seed: int = 1, documents: int = DOCUMENTS) -> Iterator[tuple[str, str, str]]:
    """Documents as (id, title, text); the same seed gives the same text on every machine."""
    for number in range(documents):
        # A generator per document: text does not depend on how many there are.
        draw = random.Random(f"{seed} {number}")
        topic = draw.sample(NOUNS, 5), draw.sample(NAMES, 3)
        paragraphs = [" ".join(_sentence(draw, topic) for _ in range(SENTENCES)) for _ in range(PARAGRAPHS)]
        yield f"grammar/{number:05d}", f"The {topic[0][0]}", "\n\n".join(paragraphs)


Topic = tuple[list[str], list[str]]


def _sentence(draw: random.Random, topic: Topic) -> str:
    text = _clause(draw, topic)
    if draw.random() < 0.3:
        text = f"{text} {draw.choice(LINKS)} {_clause(draw, topic)}"
    return f"{text[0].upper()}{text[1:]}."


def _clause(draw: random.Random, topic: Topic) -> str:
    subject, plural = _noun_phrase(draw, topic, 0)
    return f"{subject} {_verb_phrase(draw, topic, plural, 0)}"


def _noun_phrase(draw: random.Random, topic: Topic, depth: int) -> tuple[str, bool]:
    """A noun phrase, and whether it is plural."""
    if draw.random() < NAMED:
        return draw.choice(topic[1]), False
    plural = draw.random() < 0.4
    noun = draw.choice(topic[0]) + ("s" if plural else "")
    adjective = f"{draw.choice(ADJECTIVES)} " if draw.random() < ADJECTIVE else ""
    phrase = f"{draw.choice(('the', 'these', 'many') if plural else ('the', 'this', 'every'))} {adjective}{noun}"
    if depth < DEEPEST and draw.random() < RELATIVE:
        phrase = f"{phrase} that {_verb_phrase(draw, topic, plural, depth + 1)}"
    return phrase, plural


def _verb_phrase(draw: random.Random, topic: Topic, plural: bool, depth: int) -> str:
    """A verb that agrees with its subject, its object, and at times an adverb."""
    adverb = f" {draw.choice(ADVERBS)}" if draw.random() < ADVERB else ""
    if draw.random() < 0.3:
        return f"{_agreeing(draw.choice(INTRANSITIVE), plural)}{adverb}"
    return f"{_agreeing(draw.choice(TRANSITIVE), plural)} {_noun_phrase(draw, topic, depth)[0]}{adverb}"


def _agreeing(verb: str, plural: bool) -> str:
    return verb.removesuffix("s") if plural else verb
