"""Synthetic text: repeatable, agreeing in number, and a corpus like any other."""

import json
import re

from headwise.models.corpus import build_corpus, read_documents
from headwise.models.grammar import INTRANSITIVE, NAMES, TRANSITIVE, grammar_texts
from headwise.study.data import Corpus

SINGULAR = set(TRANSITIVE) | set(INTRANSITIVE)
PLURAL = {verb.removesuffix("s") for verb in SINGULAR}


def test_the_same_seed_gives_the_same_text_whatever_the_number_of_documents():
    few, many = list(grammar_texts(1, 3)), list(grammar_texts(1, 6))
    assert few == many[:3]
    assert list(grammar_texts(2, 3)) != few
    assert len({text for _, _, text in many}) == 6


def test_verbs_agree_with_the_noun_that_begins_the_sentence():
    seen = 0
    for _, _, text in grammar_texts(1, 20):
        for sentence in re.findall(r"[^.]+\.", text):
            words = sentence.strip(". \n").split()
            verb = next(word for word in words if word in SINGULAR | PLURAL)
            before = words[: words.index(verb)]
            if "that" in before:
                continue
            plural = before[0] in ("These", "Many") or (before[0] == "The" and before[-1].endswith("s"))
            assert (verb in PLURAL) == plural, sentence
            seen += 1
    assert seen > 300


def test_documents_speak_of_a_few_people_again_and_again():
    for _, _, text in grammar_texts(1, 10):
        named = [word for word in re.findall(r"[A-Z][a-z]+", text) if word in NAMES]
        assert len(set(named)) <= 3
        assert len(named) > 6


def test_it_is_a_corpus_with_both_splits(tmp_path):
    settings = Corpus.model_validate({"source": "grammar"})
    build_corpus(settings, tmp_path / "documents.jsonl", tmp_path / "corpus.json")
    facts = json.loads((tmp_path / "corpus.json").read_text())
    assert (facts["source"], facts["path"]) == ("grammar", None)
    assert facts["characters"]["train"] > 1_000_000
    assert len(read_documents(tmp_path / "documents.jsonl", "held_out")) > 10
