"""Files and folders appear whole, or not at all."""

import os
from pathlib import Path

import pytest

from headwise.runtime.atomic import atomic


class Interruption(BaseException):
    """Stands for KeyboardInterrupt, which is no Exception."""


def test_a_file_appears_only_when_the_block_has_succeeded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "file.txt"
    with atomic(path) as temporary:
        temporary.write_text("done")
        assert temporary.parent == path.parent  # on the same file system: the rename is atomic
        assert not path.exists()
    assert path.read_text() == "done"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "old.txt").touch()
    with atomic(path) as temporary:
        temporary.mkdir()
        (temporary / "new.txt").touch()
        assert os.listdir(path) == ["old.txt"]
    assert os.listdir(path) == ["new.txt"]
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [ValueError, Interruption])
@pytest.mark.parametrize("kind", ["nothing", "file", "folder"])
@pytest.mark.parametrize("before", [False, True])
def test_a_failed_block_leaves_everything_as_it_was(
    tmp_path: Path, error: type[BaseException], kind: str, before: bool
) -> None:
    path = tmp_path / "output"
    if before and kind == "folder":
        path.mkdir()
        (path / "inside").write_text("old")
    elif before:
        path.write_text("old")

    def tree() -> dict[Path, str | None]:
        return {found: found.read_text() if found.is_file() else None for found in tmp_path.rglob("*")}

    def fail_half_way() -> None:
        with atomic(path) as temporary:
            if kind == "file":
                temporary.write_text("half")
            elif kind == "folder":
                temporary.mkdir()
                (temporary / "inside").write_text("half")
            raise error

    earlier = tree()
    with pytest.raises(error):
        fail_half_way()
    assert tree() == earlier


def test_what_a_killed_process_of_the_same_number_left_is_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic(path) as temporary:
        temporary.mkdir()
    stale = temporary
    stale.mkdir()
    (stale / "stale.txt").touch()
    with atomic(path) as temporary:
        assert temporary == stale
        temporary.mkdir()
        (temporary / "new.txt").touch()
    assert os.listdir(path) == ["new.txt"]


def test_a_folder_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.write_text("old")
    with atomic(path) as temporary:
        temporary.mkdir()
    assert path.is_dir()
    assert os.listdir(tmp_path) == ["output"]


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic(path):
        pass
    assert path.read_text() == "old"
