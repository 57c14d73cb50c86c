"""JSON survives a file, and what it cannot hold is refused."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from json_examples import JSON

from headwise.runtime.json_files import read_json, write_json


@settings(deadline=None)
@given(JSON)
def test_json_survives_a_file(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(value, path)
    assert read_json(path) == value


def test_json_keeps_the_order_of_keys_and_typographic_characters(tmp_path: Path) -> None:
    write_json({"b": "1 − α", "a": 2}, tmp_path / "value.json")
    assert (tmp_path / "value.json").read_text(encoding="utf-8") == '{\n  "b": "1 − α",\n  "a": 2\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_what_json_cannot_hold_leaves_no_file(tmp_path: Path, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        write_json({"value": value}, tmp_path / "value.json")
    assert os.listdir(tmp_path) == []
