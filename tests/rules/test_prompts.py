"""Rule verify_prompts."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from headwise.study.study import Study


def test_verified_prompts_are_those_of_the_file(folder: Path, prompts: tuple[Path, Path]) -> None:
    source = folder / "prompts" / "tiny.jsonl"
    facts = json.loads(prompts[1].read_text())
    assert facts["sha256"] == sha256(source.read_bytes()).hexdigest()
    assert facts["count"] == 12
    assert facts["domains"] == {"domain0": 4, "domain1": 4, "domain2": 4}
    assert [json.loads(line) for line in prompts[0].open()] == [json.loads(line) for line in source.open()]


def test_a_changed_byte_writes_nothing_and_ends_with_an_error(
    tmp_path: Path,
    folder: Path,
    study: Study,
    run_script: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = (folder / "prompts" / "tiny.jsonl").read_bytes()
    damaged = content.replace(b"domain1", b"domain7", 1)
    (tmp_path / "tiny.jsonl").write_bytes(damaged)
    with pytest.raises(SystemExit) as ended:
        run_script(
            "verify_prompts",
            input={},
            output={"prompts": tmp_path / "out.jsonl", "facts": tmp_path / "out.json"},
            arguments={"settings": {"path": str(tmp_path / "tiny.jsonl"), "sha256": sha256(content).hexdigest()}},
        )
    assert ended.value.code == 1
    sentence = capsys.readouterr().err
    assert str(tmp_path / "tiny.jsonl") in sentence
    assert sha256(content).hexdigest() in sentence
    assert sha256(damaged).hexdigest() in sentence
    assert not (tmp_path / "out.jsonl").exists()
