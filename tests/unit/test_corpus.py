"""The corpus against what the files and the running Python say themselves."""

import hashlib
import inspect
import json
import platform
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.models.corpus import CorpusError, build_corpus, read_documents
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
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), min_size=1), max_size=5))
def test_any_text_survives_the_file(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("corpus")
    named = {f"own{number}.txt": f"{number} {text}" for number, text in enumerate(texts)}
    documents, _ = build(write_files(folder / "text", many_texts() | named), folder)
    written = {document["id"]: document["text"] for document in documents}
    assert {name: written[name] for name in named} == named
