"""Digests of files and values, and versions of libraries."""

import hashlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from json_examples import JSON

from headwise.runtime.provenance import file_digest, json_digest


def test_digest_of_a_file_is_the_published_one(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")  # test vector of FIPS 180-2, appendix B.1
    assert file_digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_digest_of_a_json_value_is_that_of_its_canonical_text() -> None:
    expected = hashlib.sha256('{"a":[1,2.5,null],"b":"é"}'.encode()).hexdigest()
    assert json_digest({"b": "é", "a": [1, 2.5, None]}) == expected


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON, min_size=2, max_size=5))
def test_digest_ignores_the_order_of_keys_but_no_value(value: dict) -> None:
    assert json_digest(dict(reversed(value.items()))) == json_digest(value)
    key = next(iter(value))
    assert json_digest(value | {key: [value[key]]}) != json_digest(value)


def test_versions_are_those_installed_and_read_without_importing() -> None:
    code = (
        "import sys; from headwise.runtime.provenance import library_versions;"
        "print(library_versions()['torch'], 'torch' in sys.modules)"
    )
    done = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert done.split() == [version("torch"), "False"]
