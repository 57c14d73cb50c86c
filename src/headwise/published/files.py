"""The boundary to released files: whatever stands in a folder is read, or named with the reason why not."""

import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwise.published.values import Damaged, shown

# A number of more digits measures nothing; Python itself stops at 4,300.
MOST_DIGITS = 300
LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class ReleasedFile:
    """A file below the folder.

    name     its path in the folder, as it can be shown
    digest   SHA-256 of its bytes; None where it is no JSON file or cannot be opened
    content  its JSON value; Damaged where nothing of it can be used, and in place of each part that cannot be read
    """

    name: str
    digest: str | None
    content: Any


def released_files(folder: Path) -> Iterator[ReleasedFile]:
    """All files below a folder in the order of their paths, each content once: a copy says what it is a copy of.

    Links to folders are not followed, and hidden files are not read: both are named.
    """
    first: dict[str, str] = {}
    for path, refused in sorted(_paths(folder)):
        name = shown(os.fsencode(path.relative_to(folder)).decode("utf-8", "surrogateescape"))
        if refused is not None:
            yield ReleasedFile(name, None, Damaged(refused))
            continue
        digest, content = read_released(path)
        if digest is not None and not isinstance(content, Damaged):
            same = first.setdefault(_content_digest(content) or digest, name)
            if same != name:
                content = Damaged(f"the same content as {same}: counted once, there")
        yield ReleasedFile(name, digest, content)


def _paths(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Paths of files, and of folders that are not entered, each with the reason why it is not read."""
    unreadable: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        for name in list(folders):
            path = Path(parent, name)
            if name.startswith("."):
                folders.remove(name)
                yield path, "a hidden folder: not read, since such folders hold copies and settings of tools"
            elif path.is_symlink():
                yield path, "a link to a folder: not followed; put the folder itself there"
        for name in files:
            yield Path(parent, name), _refused(Path(parent, name))
    for error in unreadable:
        yield Path(error.filename), f"a folder that cannot be opened: {error.strerror}"


def _refused(path: Path) -> str | None:
    """Why a file is not read, as far as its name and kind tell; None where it is."""
    if path.name.startswith("."):
        return "a hidden file: not read, since editors and systems keep copies under such names"
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        return f"cannot be opened: {error.strerror}"
    if not regular:
        return "not a file but a pipe or device"
    return None if path.suffix.lower() == ".json" else "not a JSON file"


def read_released(path: Path) -> tuple[str | None, Any]:
    """SHA-256 and JSON value of a file in UTF-8, UTF-16 or UTF-32, with or without byte order mark.

    Raises nothing: what cannot be read is Damaged, with the reason.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        return None, Damaged(f"cannot be opened: {error.strerror}")
    digest = hashlib.sha256(raw).hexdigest()
    if not raw.strip(b"\0\t\r\n "):
        return digest, Damaged("an empty file: get it again from where it was released")
    if raw.startswith(LFS_POINTER):
        return digest, Damaged('a Git LFS pointer instead of the file: run "git lfs pull" where it was cloned')
    try:
        return digest, json.loads(raw, object_pairs_hook=_object, parse_int=_whole)
    except UnicodeDecodeError as error:
        byte, place = raw[error.start : error.start + 1].hex(), error.start
        return digest, Damaged(f"no text in UTF-8 (byte 0x{byte} at position {place}): save it again as UTF-8")
    except json.JSONDecodeError as error:
        return digest, Damaged(f"not readable as JSON: {error}")
    except RecursionError:
        return digest, Damaged("nested too deeply to be read")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, times in Counter(key for key, _ in pairs).items():
            if times > 1:
                found[key] = Damaged(f"the key stands {times} times in one object, and nothing says which counts")
    return found


def _whole(digits: str) -> int | Damaged:
    return int(digits) if len(digits) <= MOST_DIGITS else Damaged(f"a whole number of {len(digits):,} digits")


def _content_digest(content: Any) -> str | None:
    """SHA-256 of a value, whatever its layout in the file; None where a part of it is damaged or nested too deeply."""
    try:
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    except (TypeError, RecursionError):
        return None
