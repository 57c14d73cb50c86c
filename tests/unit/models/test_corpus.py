"""The corpus against what the files and the running Python say themselves."""

import hashlib
import inspect
import json
import os
import platform
import random
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.models.corpus import CorpusError, build_corpus, read_documents
from headwise.models.files import corpus_files
from headwise.models.near_copies import HeldOut, text_spans
from headwise.models.standard_library import standard_library_texts
from headwise.study.data import Corpus


def write_files(folder: Path, texts: dict[str, str]) -> Corpus:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return Corpus(source="text", path=str(folder), held_out=0.2)


def many_texts(count: int = 50) -> dict[str, str]:
    return {f"part{number % 3}/text{number:03}.txt": f"Text number {number}. " * 20 for number in range(count)}


def build(wanted: Corpus, folder: Path) -> tuple[list[dict[str, str]], dict]:
    build_corpus(wanted, folder / "documents.jsonl", folder / "corpus.json")
    lines = (folder / "documents.jsonl").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return [json.loads(line) for line in lines], json.loads((folder / "corpus.json").read_text())


def test_two_builds_give_the_same_bytes_whatever_the_order_of_the_files(tmp_path):
    texts = many_texts()
    build(write_files(tmp_path / "a", texts), tmp_path / "1")
    build(write_files(tmp_path / "b", dict(reversed(texts.items()))), tmp_path / "2")
    assert (tmp_path / "1/documents.jsonl").read_bytes() == (tmp_path / "2/documents.jsonl").read_bytes()


def test_the_split_is_the_hash_of_the_id_and_ignores_other_documents(tmp_path):
    few, _ = build(write_files(tmp_path / "a", many_texts(50)), tmp_path / "1")
    many, _ = build(write_files(tmp_path / "b", many_texts(400)), tmp_path / "2")
    for document in many:
        number = int(hashlib.sha256(document["id"].encode()).hexdigest()[:16], 16)
        assert document["split"] == ("held_out" if number / 16**16 < 0.2 else "train")
    splits = {document["id"]: document["split"] for document in many}
    assert {document["id"]: document["split"] for document in few}.items() <= splits.items()
    held_out = sum(split == "held_out" for split in splits.values())
    assert 400 * 0.2 - 5 * 8 < held_out < 400 * 0.2 + 5 * 8  # five standard deviations of the binomial


def test_facts_count_what_the_documents_hold(tmp_path):
    documents, facts = build(write_files(tmp_path / "text", many_texts()), tmp_path)
    assert facts["digest"] == hashlib.sha256((tmp_path / "documents.jsonl").read_bytes()).hexdigest()
    for split in ("train", "held_out"):
        texts = [document["text"] for document in documents if document["split"] == split]
        assert facts["documents"][split] == len(texts)
        assert facts["characters"][split] == sum(map(len, texts))
    assert facts["python"] is None


def test_reading_a_split_gives_its_documents_alone(tmp_path):
    documents, _ = build(write_files(tmp_path / "text", many_texts()), tmp_path)
    read = {split: read_documents(tmp_path / "documents.jsonl", split) for split in ("train", "held_out")}
    assert {d.id for d in read["train"]}.isdisjoint(d.id for d in read["held_out"])
    assert sorted(d.id for part in read.values() for d in part) == [d["id"] for d in documents]


def test_a_text_that_occurs_twice_is_kept_once_and_an_empty_one_not_at_all(tmp_path):
    texts = many_texts() | {
        "a.md": "The same words. " * 30,
        "b.md": "The same words. " * 30,
        "empty.txt": " \n",
    }
    documents, _ = build(write_files(tmp_path / "text", texts), tmp_path)
    names = [document["id"] for document in documents]
    assert "a.md" in names
    assert not {"b.md", "empty.txt"} & set(names)


def test_only_text_and_markdown_files_are_read(tmp_path):
    wanted = write_files(tmp_path / "text", many_texts() | {"code.py": "x = 1\n" * 500})
    assert all(document["id"].endswith(".txt") for document in build(wanted, tmp_path)[0])


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ({}, "holds no .txt or .md file"),
        ({"a.txt": "too little"}, "and training needs 5,000: add text"),
        (
            {"a.txt": "one document of many words. " * 300},
            "no document of 1 fell into the split .*: add documents, or change corpus.held_out",
        ),
    ],
)
def test_text_that_cannot_be_trained_on_is_an_error(tmp_path, texts, sentence):
    with pytest.raises(CorpusError, match=sentence):
        build(write_files(tmp_path / "text", texts), tmp_path)
    assert not (tmp_path / "documents.jsonl").exists()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"there is no folder .*absent: correct the path"):
        build(Corpus(source="text", path=str(tmp_path / "absent")), tmp_path)


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    wanted = write_files(tmp_path / "text", many_texts())
    (tmp_path / "text" / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"latin\.txt: not UTF-8 text .*byte 3"):
        build(wanted, tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("Text of PowerShell. ".encode("utf-16"), "not UTF-8 text .*byte 0"),
        ("Text of PowerShell. ".encode("utf-16-le"), "not UTF-8 text but UTF-16 or no text"),
        (b"RIFF\x00\x00", "not UTF-8 text but UTF-16 or no text"),
    ],
)
def test_a_file_of_another_encoding_is_named(tmp_path, content, sentence):
    wanted = write_files(tmp_path / "text", many_texts())
    (tmp_path / "text" / "odd.txt").write_bytes(content)
    with pytest.raises(CorpusError, match=rf"odd\.txt: {sentence}.*convert"):
        build(wanted, tmp_path)


def test_a_file_whose_name_no_json_can_hold_is_named(tmp_path):
    wanted = write_files(tmp_path / "text", many_texts())
    try:
        (tmp_path / "text" / os.fsdecode(b"caf\xe9.txt")).write_text("Text. " * 20)
    except OSError:
        pytest.skip("this file system takes names of UTF-8 alone")
    with pytest.raises(CorpusError, match=r"'caf\\udce9\.txt' has '\\udce9' in its name or text.*rename"):
        build(wanted, tmp_path)


def test_a_byte_order_mark_is_no_text(tmp_path):
    plain = many_texts() | {"own.txt": "A text of its own. " * 20}
    marked = {name: f"\ufeff{text}" for name, text in plain.items()}
    found = [
        build(write_files(tmp_path / name, texts), tmp_path / f"{name}-out")
        for name, texts in (("plain", plain), ("marked", marked))
    ]
    assert found[0][0] == found[1][0]


def test_facts_count_what_was_left_out(tmp_path):
    odd = {"a.md": "The same words. " * 30, "b.md": "\ufeffThe same words. " + "The same words. " * 29}
    _, facts = build(write_files(tmp_path / "text", many_texts() | odd | {"c.md": "\ufeff", "d.md": ""}), tmp_path)
    assert facts["left_out"] == {"empty": 2, "repeated": 1, "near_copies": 0}


HIDDEN = [".ipynb_checkpoints/text-checkpoint.txt", "part0/.git/notes.md", "._text.txt", ".#text.md", ".cache/a/b.txt"]


@pytest.mark.parametrize("source", ["text", "dataset"])
def test_hidden_files_are_none_of_the_corpus(tmp_path, source):
    wanted = write_files(tmp_path / ".home" / "text", many_texts() | dict.fromkeys(HIDDEN, "Hidden. " * 100))
    listed = corpus_files(wanted.model_copy(update={"source": source}))
    assert {path.relative_to(wanted.path).as_posix() for path in listed} == set(many_texts())
    documents, _ = build(wanted, tmp_path)
    assert {document["id"] for document in documents} == set(many_texts())


def words(draw: random.Random, count: int = 200) -> list[str]:
    return ["".join(draw.choices("abcdefgh", k=5)) for _ in range(count)]


def resemblance(one: str, other: str) -> float:
    """From the definition: spans of 50 letters, whatever lies between them, in both texts over those in either."""
    spans = []
    for text in (one, other):
        letters = [letter for letter in text.casefold() if letter.isalnum()]
        spans.append({tuple(letters[start : start + 50]) for start in range(max(1, len(letters) - 49))})
    return len(spans[0] & spans[1]) / len(spans[0] | spans[1])


def test_near_copies_of_held_out_documents_are_those_of_the_definition():
    draw = random.Random(1)
    original = words(draw)
    held_out = HeldOut([("other", " ".join(words(draw))), ("own", " ".join(original))], 2_400)
    found = []
    for replaced in range(1, 12):
        changed = list(original)
        for place in draw.sample(range(200), replaced):
            changed[place] = words(draw, 1)[0]
        copy = "\n".join(changed).upper() + "!"
        assert held_out.is_near_copy(copy) == (resemblance(copy, " ".join(original)) >= 0.5)
        found.append(held_out.is_near_copy(copy))
    assert {True, False} == set(found)
    assert HeldOut([("own", "Short.")], 6).is_near_copy("short")
    assert not HeldOut([("own", "Short.")], 6).is_near_copy("A short one")


def test_spans_do_not_depend_on_how_much_is_hashed_at_once(monkeypatch):
    text = " ".join(words(random.Random(6)))
    whole = text_spans(text)
    assert len(whole) == 1_000 - 49
    monkeypatch.setattr("headwise.models.near_copies.LETTERS_AT_ONCE", 64)
    np.testing.assert_array_equal(text_spans(text), whole)
    assert len(text_spans("")) == len(text_spans("Short.")) == 1


def test_near_copies_are_found_in_a_corpus_that_is_sampled():
    draw = random.Random(2)
    texts = [" ".join(words(draw, 2_000)) for _ in range(5)]
    held_out = HeldOut([(str(number), text) for number, text in enumerate(texts)], 40_000_000)
    assert held_out.one_in == 10
    assert sum(held_out.sizes) == pytest.approx(5 * (10_000 - 49) / 10, rel=0.1)
    assert held_out.is_near_copy(texts[3] + " Edited since.")
    assert not held_out.is_near_copy(" ".join(words(draw, 2_000)))


def test_edited_copies_never_stand_on_both_sides(tmp_path):
    """As `x (copy).txt`, `x_old.txt` and the like: whatever they are called, and however the hash splits them."""
    draw = random.Random(3)
    texts = {f"text{number:02}.txt": " ".join(words(draw)) for number in range(30)}
    copies = {f"text{number:02} (copy).txt": f"{texts[f'text{number:02}.txt']} Edited." for number in range(30)}
    alone, before = build(write_files(tmp_path / "alone", texts), tmp_path / "1")
    documents, facts = build(write_files(tmp_path / "both", texts | copies), tmp_path / "2")
    split = {document["id"]: document["split"] for document in documents}
    pairs = [(split.get(name), split.get(name.replace(".", " (copy)."))) for name in texts]
    assert not {("held_out", "train"), ("train", "held_out")} & set(pairs)
    assert ("train", "train") in pairs
    mixed = [pair for pair in pairs if None in pair]
    assert facts["left_out"]["near_copies"] == len(mixed) > 0
    assert {one or other for one, other in mixed} == {"held_out"}
    assert facts["held_out_in_training"] == before["held_out_in_training"] == 0
    assert len(documents) == 60 - len(mixed)
    assert [document for document in alone if document["split"] == "held_out"] == [
        document for document in documents if document["split"] == "held_out" and document["id"] in texts
    ]


def test_validation_is_taken_from_training_and_held_out_text_stays(tmp_path):
    draw = random.Random(5)
    texts = {f"text{number:02}.txt": " ".join(words(draw)) for number in range(60)}
    copies = {f"text{number:02} (copy).txt": f"{texts[f'text{number:02}.txt']} Edited." for number in range(60)}
    plain = write_files(tmp_path / "text", texts | copies)
    before, _ = build(plain, tmp_path / "1")
    after, facts = build(plain.model_copy(update={"validation": 0.2}), tmp_path / "2")
    split = {document["id"]: document["split"] for document in after}
    chosen = [{document["id"] for document in found if document["split"] == "held_out"} for found in (before, after)]
    assert chosen[0] == chosen[1]
    assert facts["documents"] == {
        name: list(split.values()).count(name) for name in ("train", "held_out", "validation")
    }
    assert facts["documents"]["validation"] > 0
    # No two splits hold copies of one text.
    pairs = [{split.get(name), split.get(name.replace(".", " (copy)."))} - {None} for name in texts]
    assert all(len(pair) == 1 for pair in pairs)


def test_held_out_text_that_training_holds_in_longer_documents_is_counted(tmp_path):
    draw = random.Random(4)
    texts = {f"text{number:02}.txt": " ".join(words(draw)) for number in range(40)}
    held_out = [
        document
        for document in build(write_files(tmp_path / "a", texts), tmp_path)[0]
        if document["split"] == "held_out"
    ]
    longer = {
        f"long{number}.txt": " ".join([held_out[0]["text"], str(number), *words(draw, 600)]) for number in range(9)
    }
    documents, facts = build(write_files(tmp_path / "a", longer), tmp_path)
    kept = [document for document in documents if document["split"] == "held_out"]
    assert {document["split"] for document in documents if document["id"] in longer} == {"train", "held_out"}
    shared = [document for document in kept if document["text"].startswith(held_out[0]["text"])]
    spans = [len(document["text"].replace(" ", "")) - 49 for document in kept]
    assert facts["held_out_in_training"] == pytest.approx(951 * len(shared) / sum(spans))


def test_a_book_beside_its_chapters_is_refused(tmp_path):
    draw = random.Random(5)
    texts = {f"chapter{number:02}.txt": " ".join(words(draw)) for number in range(20)}
    book = {f"book{number}.txt": " ".join([*texts.values(), str(number)]) for number in range(2)}
    sentence = r"corpus: .*% of the held-out text stands in training documents.*'chapter\d\d.txt': remove documents"
    with pytest.raises(CorpusError, match=sentence):
        build(write_files(tmp_path / "text", texts | book), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.fixture
def small_library(monkeypatch):
    """A standard library of a few modules; importing `this` or `antigravity` would show."""
    modules = {"antigravity", "json", "pydoc_data", "test", "textwrap", "this", "unittest"}
    monkeypatch.setattr(sys, "stdlib_module_names", frozenset(modules))


def test_standard_library_holds_the_docstrings_that_importing_shows(small_library):
    texts = {identity: text for identity, _, text in standard_library_texts()}
    import textwrap

    assert f"json.loads\n\n{inspect.getdoc(json.loads)}" in texts["module/json"]
    assert texts["module/json"].startswith(f"json\n\n{inspect.getdoc(json)}")
    assert f"textwrap.TextWrapper.wrap\n\n{inspect.getdoc(textwrap.TextWrapper.wrap)}" in texts["module/textwrap"]
    assert "module/unittest.mock" in texts
    assert not [identity for identity in texts if "test." in identity.removeprefix("module/unittest")]


def test_standard_library_holds_every_topic_of_help(small_library):
    from pydoc_data.topics import topics

    texts = {identity: text for identity, _, text in standard_library_texts()}
    assert {identity for identity in texts if identity.startswith("topic/")} == {f"topic/{name}" for name in topics}
    assert texts["topic/assert"].split() == topics["assert"].split()


def test_standard_library_is_read_without_importing_it(small_library):
    sys.modules.pop("this", None)
    standard_library_texts()
    assert not {"this", "antigravity"} & set(sys.modules)


def test_a_docstring_occurs_once(small_library):
    from unittest.mock import AsyncMock, MagicMock

    repeated = inspect.getdoc(MagicMock.mock_add_spec)
    assert MagicMock.mock_add_spec is not AsyncMock.mock_add_spec
    assert sum(text.count(repeated) for _, _, text in standard_library_texts()) == 1


def test_a_python_without_sources_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(FileNotFoundError, match=r"keeps no documentation sources.*set corpus.source to text"):
        standard_library_texts()


def test_facts_of_the_standard_library_name_the_python(small_library, tmp_path):
    _, facts = build(Corpus(held_out=0.2), tmp_path)
    assert facts["python"] == platform.python_version()
    assert facts["source"] == "standard_library"


def test_a_data_set_needs_the_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    wanted = Corpus(source="dataset", path="someone/something", revision="a" * 40)
    with pytest.raises(CorpusError, match=r"pip install 'headwise\[dataset\]'"):
        build(wanted, tmp_path)


class Rows(list):
    """What `datasets` streams, as far as it is used."""

    def take(self, count: int) -> "Rows":
        return Rows(self[:count])


def wanted_dataset(**changes: object) -> Corpus:
    named = {"path": "someone/something", "split": "part", "column": "words", "revision": "b" * 40, "held_out": 0.2}
    return Corpus(source="dataset", **named | changes)


@pytest.fixture
def asked(monkeypatch):
    """What was asked of `datasets`, which then streams 60 rows, every fifth without text."""
    asked = {}

    def load_dataset(path, configuration=None, **options):
        asked.update(options, path=path, configuration=configuration)
        texts = [None if number % 5 == 3 else f"Row {number} of the data. " * 20 for number in range(60)]
        return Rows({"words": text, "count": 3} for text in texts)

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    return asked


def test_a_data_set_is_streamed_at_its_revision(asked, tmp_path):
    documents, facts = build(wanted_dataset(configuration="en"), tmp_path)
    named = {"path": "someone/something", "configuration": "en", "split": "part", "revision": "b" * 40}
    assert asked == {**named, "streaming": True}
    assert (facts["revision"], facts["configuration"]) == ("b" * 40, "en")
    assert [document["id"] for document in documents] == [f"row/{row:09d}" for row in range(60) if row % 5 != 3]


def test_the_first_rows_of_a_data_set_are_the_first_rows_of_all(asked, tmp_path):
    few, _ = build(wanted_dataset(rows=40), tmp_path / "few")
    all_rows, _ = build(wanted_dataset(), tmp_path / "all")
    assert few == all_rows[: len(few)]
    assert few[-1]["id"] == "row/000000039"


def test_a_data_set_in_a_folder_has_no_revision(asked, tmp_path):
    build(wanted_dataset(path=str(tmp_path), revision=None), tmp_path / "out")
    assert asked["revision"] is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"column": "text"}, "has no column 'text': choose from words, count"),
        ({"column": "count"}, "'count' of data set someone/something holds int in row 0, not text"),
    ],
)
def test_a_column_that_holds_no_text_is_named(asked, tmp_path, changes, sentence):
    with pytest.raises(CorpusError, match=sentence):
        build(wanted_dataset(**changes), tmp_path)
    assert not (tmp_path / "documents.jsonl").exists()


@pytest.mark.parametrize("error", [ConnectionError("no\nnetwork"), ValueError("Unknown split"), RuntimeError("script")])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "while reading"])
def test_a_data_set_that_cannot_be_read_gives_a_sentence(monkeypatch, tmp_path, error, late):
    def broken():
        yield {"words": "The first row. "}
        raise error

    def load_dataset(*_, **__):
        if late:
            return broken()
        raise error

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(CorpusError, match=r"something cannot be read \((no network|Unknown|script).*hf download"):
        build(wanted_dataset(), tmp_path)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1), max_size=5))
def test_any_text_survives_the_file(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("corpus")
    named = {f"own{number}.txt": f"{number} {text}" for number, text in enumerate(texts)}
    documents, _ = build(write_files(folder / "text", many_texts() | named), folder)
    written = {document["id"]: document["text"] for document in documents}
    assert {name: written[name] for name in named} == named
