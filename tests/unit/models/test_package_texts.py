"""The corpus of packages: from made-up packages, whose texts are known, and from the pinned ones."""

import inspect
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwise.models import package_texts as module
from headwise.models.corpus import CorpusError, build_corpus
from headwise.models.package_texts import PACKAGES, clean, other_versions, package_texts
from headwise.study.data import Corpus

ROOT = Path(__file__).parents[3]
# Of the versions in PACKAGES, on Linux with Python 3.11; wheels for Windows and macOS gave the same texts.
DIGEST = "ee45cdb65900523a916457794e3882a40a5928be9a5382e4098ac5074b15aecc"
SHARED = "axis : int or None, the axis along which to compute"
SOURCE = f'''"""Means.

    Of several kinds.
"""

class Mean:
    """One mean.

    {SHARED}
    """

    def of(self):
        """Another mean.   

        {SHARED}
        """
        raise RuntimeError("read, never run")

raise RuntimeError("read, never run")
'''


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package 'madeup' of given files; the only one that is read."""
    monkeypatch.setattr(module, "PACKAGES", {"madeup": ("1.0", "MIT")})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def write(files: dict[str, str], newline: str = "\n", listed: bool = True) -> None:
        about = tmp_path / "site/madeup-1.0.dist-info"
        about.mkdir(parents=True, exist_ok=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: madeup\nVersion: 1.0\n")
        for name, text in files.items():
            path = tmp_path / "site/madeup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, newline=newline)
        if listed:
            (about / "RECORD").write_text("".join(f"madeup/{name},,\n" for name in files))

    return write


def test_docstrings_stand_under_their_names_and_a_repeated_paragraph_stands_once(install):
    install({"__init__.py": SOURCE})
    (text,) = package_texts()
    paragraphs = ["madeup", "Means.", "Of several kinds.", "madeup.Mean", "One mean.", SHARED]
    expected = "\n\n".join([*paragraphs, "madeup.Mean.of", "Another mean."])
    assert text == ("madeup/madeup", "madeup", expected)


def test_line_ends_and_generated_files_and_tests_and_their_order_do_not_matter(install):
    install({"__init__.py": SOURCE, "b.py": '"""The letter b."""', "a/__init__.py": '"""The letter a."""'})
    expected = package_texts()
    assert [identity for identity, *_ in expected] == ["madeup/madeup", "madeup/madeup.a", "madeup/madeup.b"]
    others = {
        name: '"""Of this machine alone."""' for name in ("version.py", "tests/test_b.py", "_distributor_init.py")
    }
    install(
        {**others, "b.py": '"""The letter b."""', "a/__init__.py": '"""The letter a."""', "__init__.py": SOURCE}, "\r\n"
    )
    assert package_texts() == expected


@given(st.text("ab \t\n", max_size=60))
def test_docstrings_are_cleaned_as_inspect_does_apart_from_spaces_at_ends(docstring):
    expected = "\n".join(line.rstrip() for line in inspect.cleandoc(docstring).split("\n")).strip("\n")
    assert clean(docstring).strip("\n") == expected


def test_a_missing_package_and_one_without_a_list_of_files_are_told(install, monkeypatch):
    install({"__init__.py": SOURCE}, listed=False)
    with pytest.raises(FileNotFoundError, match="madeup was installed without a list of its files: install it again"):
        package_texts()
    monkeypatch.setattr(module, "PACKAGES", {"madeup-absent": ("1.0", "MIT")})
    with pytest.raises(ModuleNotFoundError, match="madeup-absent is not installed: install it, as in: pip install"):
        package_texts()


def test_another_digest_is_refused_with_the_versions_that_differ(install, monkeypatch, tmp_path):
    install({f"m{number:02}.py": f'"""Number {number}. {"text " * 40}{number}"""' for number in range(60)})
    facts = tmp_path / "corpus.json"
    build_corpus(Corpus(source="packages", held_out=0.2), tmp_path / "documents.jsonl", facts)
    built = json.loads(facts.read_text())
    assert built["packages"] == {"madeup": {"version": "1.0", "licence": "MIT"}}
    build_corpus(Corpus(source="packages", held_out=0.2, sha256=built["digest"]), tmp_path / "documents.jsonl", facts)
    monkeypatch.setattr(module, "PACKAGES", {"madeup": ("1.1", "MIT")})
    sentence = rf"corpus.sha256: expected {'0' * 64}, built {built['digest']}: install .* madeup 1.0 \(pinned 1.1\)"
    with pytest.raises(CorpusError, match=sentence):
        build_corpus(
            Corpus(source="packages", held_out=0.2, sha256="0" * 64), tmp_path / "other.jsonl", tmp_path / "other.json"
        )
    assert not (tmp_path / "other.jsonl").exists()


def test_versions_are_those_of_the_constraints():
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert {name: number for name, (number, _) in PACKAGES.items()} == {name: pinned[name] for name in PACKAGES}


@pytest.mark.slow
def test_pinned_packages_give_the_digest_that_is_published(tmp_path):
    if other_versions():
        pytest.skip(f"other versions than constraints.txt pins: {', '.join(other_versions())}")
    facts = tmp_path / "corpus.json"
    build_corpus(Corpus(source="packages", sha256=DIGEST), tmp_path / "documents.jsonl", facts)
    assert json.loads(facts.read_text())["held_out_in_training"] < 0.02
