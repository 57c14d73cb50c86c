"""Files of a checkpoint, read with care: JSON objects, and the headers of safetensors files.

A safetensors file begins with 8 bytes, the length of the header; the header is JSON and says of each tensor its dtype,
its shape, and where its bytes lie among those that follow.

Imported by the Snakefile, so nothing heavy is imported here.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LENGTH_BYTES = 8
# The format allows no longer header; what is longer is another kind of file.
LONGEST_HEADER = 100_000_000
BYTES_PER_VALUE = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 8),
}
FETCH_AGAIN = "copy or fetch it again"


class CheckpointError(ValueError):
    """A checkpoint that cannot or must not be read; the message names folder and file and says what to do."""


@dataclass(frozen=True)
class Stored:
    """A tensor as a file has it: dtype in the words of safetensors (F32, BF16, …), shape, and the file."""

    dtype: str
    shape: tuple[int, ...]
    file: Path


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object. Raises CheckpointError where it cannot be read or holds anything else."""
    content = _read(path)
    _refuse_start(path, content[: len(LFS_POINTER)])
    try:
        value = json.loads(content)
    # RecursionError: nested without end; a ValueError also for text that is not UTF-8 and for endless numbers.
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged: not valid JSON ({error}): {FETCH_AGAIN}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: holds no JSON object, but {_shown(value)}: {FETCH_AGAIN}")
    return value


def refuse_pointer(path: Path) -> None:
    """Refuse a file, of whatever kind, that git-LFS left a pointer in place of. Raises CheckpointError."""
    _size(path)
    with path.open("rb") as stream:
        _refuse_start(path, stream.read(len(LFS_POINTER)))


def read_header(path: Path) -> dict[str, Stored]:
    """The tensors of a safetensors file, by name; none of their bytes are read.

    Raises CheckpointError for what is no safetensors file, for a header that contradicts itself, and for a file whose
    bytes are fewer or more than its header says.
    """
    size = _size(path)
    with path.open("rb") as stream:
        start = stream.read(len(LFS_POINTER))
        _refuse_start(path, start)
        length = int.from_bytes(start[:LENGTH_BYTES], "little")
        # Known before it is read: the length in a file of another kind is a number without meaning, often a huge one.
        if size < LENGTH_BYTES or length > min(size - LENGTH_BYTES, LONGEST_HEADER):
            raise CheckpointError(f"{path}: no complete safetensors file ({size} bytes): {FETCH_AGAIN}")
        stream.seek(LENGTH_BYTES)
        text = stream.read(length)
    try:
        entries = json.loads(text, object_pairs_hook=_without_twins)
        tensors = {name: _stored(entry, path) for name, entry in entries.items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: its header is damaged ({error}): {FETCH_AGAIN}") from None
    if (stored := size - LENGTH_BYTES - length) != end:
        raise CheckpointError(f"{path}: cut off or damaged: {stored} bytes of weights instead of {end}: {FETCH_AGAIN}")
    return tensors


def read_headers(files: Iterable[Path]) -> dict[str, Stored]:
    """The tensors of several safetensors files, by name.

    Raises CheckpointError as `read_header` does, and where two files hold a tensor of the same name.
    """
    tensors: dict[str, Stored] = {}
    for path in files:
        for name, stored in read_header(path).items():
            if name in tensors:
                raise CheckpointError(
                    f"{path}: '{name}' is in {tensors[name].file.name} too, and only one of them can be meant: "
                    f"{FETCH_AGAIN}, or save the model again with `save_pretrained`"
                )
            tensors[name] = stored
    return tensors


def values_in(tensors: Mapping[str, Stored]) -> int:
    """The number of values in all tensors together."""
    return sum(math.prod(stored.shape) for stored in tensors.values())


def _stored(entry: Mapping[str, Any], path: Path) -> Stored:
    dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    numbers = (*shape, begin, end)
    if not all(isinstance(number, int) and number >= 0 for number in numbers) or not isinstance(dtype, str):
        raise ValueError(f"{dict(entry)}")
    if dtype in BYTES_PER_VALUE and math.prod(shape) * BYTES_PER_VALUE[dtype] != end - begin:
        raise ValueError(f"{list(shape)} of {dtype} in {end - begin} bytes")
    return Stored(dtype, shape, path)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _size(path: Path) -> int:
    try:
        return os.path.getsize(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}): {FETCH_AGAIN}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}): {FETCH_AGAIN}") from None


def _refuse_start(path: Path, start: bytes) -> None:
    if start.startswith(LFS_POINTER):
        raise CheckpointError(
            f"{path}: a pointer of git-LFS, not the file itself: run `git lfs pull` in {path.parent}, or fetch the "
            "model again"
        )


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 40 else f"{text[:40]}…"
