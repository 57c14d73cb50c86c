"""Where the numbers of a sentence stand: files, and the keys that lead to the field."""

from collections.abc import Sequence
from itertools import takewhile

from headwise.published.row import Row


def sourced(sentence: str, rows: Sequence[Row], field: str = "") -> str:
    """The sentence with the files and keys of its rows in brackets, and the field below these keys."""
    return f"{sentence} [{where(rows, field)}]"


def where(rows: Sequence[Row], field: str = "") -> str:
    """`file: keys/field` for each file, files in the order of the rows; "…" stands for keys that differ."""
    places: dict[str, list[str]] = {}
    for row in rows:
        places.setdefault(row.file, []).append(row.place)
    return "; ".join(f"{file}: {_keys(each, field)}" for file, each in places.items())


def _keys(places: Sequence[str], field: str) -> str:
    split = [place.split("/") for place in dict.fromkeys(places)]
    first = _shared(split)
    keys = split[0]
    if len(split) > 1:
        last = _shared([each[len(first) :][::-1] for each in split])[::-1]
        keys = [*first, "…", *last]
    return "/".join(key for key in (*keys, field) if key not in ("", "(top)")) or "(top)"


def _shared(lists: Sequence[list[str]]) -> list[str]:
    """The keys with which all lists begin."""
    return [each[0] for each in takewhile(lambda keys: len(set(keys)) == 1, zip(*lists, strict=False))]
