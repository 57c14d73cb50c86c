"""JSON files for people and for other tools: indented, without numbers that are not finite."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headwise.runtime.atomic import atomic


def write_json(value: Any, path: str | Path) -> None:
    """Write a JSON value atomically, readable by people: indented, keys in the order given."""
    text = json_text(value, str(path), indent=2)
    with atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def json_text(value: Any, name: str, indent: int | None = None) -> str:
    """A JSON value as text. Raises ValueError, naming `name` and the place in it, for a number that is not finite."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        place, number = next(_not_finite(value), ("", None))
        if number is None:
            raise
        raise ValueError(
            f"{name}: {place} is {number}, which JSON cannot hold: what is undefined must be null, with a reason. "
            "Compute its input again"
        ) from None


def _not_finite(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in a JSON value that are not finite, each with its place: "comparisons[3].p"."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _not_finite(each, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for position, each in enumerate(value):
            yield from _not_finite(each, f"{place}[{position}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield place, value


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
