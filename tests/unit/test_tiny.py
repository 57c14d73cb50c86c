"""The tiny study of the tests."""

from pathlib import Path

import pytest
from tiny import write_study


def test_the_tiny_study_overwrites_no_checkout(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "prompts").mkdir()
    sums = tmp_path / "prompts" / "SHA256SUMS"
    sums.write_text("kept")
    with pytest.raises(ValueError, match=r"is a checkout: its prompts/SHA256SUMS would be overwritten"):
        write_study(tmp_path)
    assert sums.read_text() == "kept"
    assert write_study(tmp_path / "elsewhere").is_file()
