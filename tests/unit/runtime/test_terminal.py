"""Commands on terminals that are not UTF-8: they end well, and nothing that they say becomes another number."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headwise.runtime.logs import logged
from headwise.runtime.terminal import accept_every_character

# Every character but bytes of file names, which follow.
TEXT = "".join(map(chr, [*range(32, 0xD800), *range(0xE000, 0x11000), 0x1F4A1, 0x10FFFF]))
NOT_UTF_8 = os.fsdecode(b"caf\xe9")


def written(text: str, encoding: str, monkeypatch: pytest.MonkeyPatch) -> str:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    accept_every_character()
    print(text, end="")
    sys.stdout.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r", "utf-8"])
def test_every_character_is_written_and_json_stays_json(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (TEXT, NOT_UTF_8):
        said = json.loads(written(json.dumps(text, ensure_ascii=False), encoding, monkeypatch))
        # Signs that are spelled otherwise are few; all else comes back.
        spelled = {"−": "-", "–": "-", "×": "x", "±": "+/-", "≥": ">=", "≤": "<=", "→": "->", "…": "..."}
        lacking = {sign for sign in spelled if sign.encode(encoding, "ignore") == b""}
        assert said == "".join(spelled[c] if c in lacking else c for c in text)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_signs_of_numbers_stay_signs(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert written("−0.5 – 2", encoding, monkeypatch) == "-0.5 - 2"


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "config/config.yaml"],
        ["cost", "config/config.yaml"],
        ["schema"],
        ["schema", "--markdown"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_every_command_ends_well_where_the_locale_is_c(root: Path, arguments: list[str]) -> None:
    environment = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    code = f"from headwise.cli import app; app({arguments!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, encoding="ascii", check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    if arguments == ["schema"]:
        json.loads(done.stdout)


def test_a_log_takes_names_that_are_no_utf_8(tmp_path: Path) -> None:
    with logged(tmp_path / "log"):
        print(NOT_UTF_8)
    assert (tmp_path / "log").read_text(encoding="utf-8") == "caf\\udce9\n"
