"""Legends of figures for the page, where they wrap as its width allows: read from the specification of a figure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headwise.report.labels import plain, titled
from headwise.report.style import GREY

GLYPHS = {
    "circle": "●",
    "triangle-up": "▲",
    "square": "■",
    "diamond": "◆",
    "cross": "✚",
    "triangle-down": "▼",
    "triangle-right": "▶",
    "triangle-left": "◀",
}
CHANNELS = ("color", "shape", "strokeDash")


@dataclass(frozen=True)
class Entry:
    """What a mark looks like, and what it stands for; `dash` of a line is in pixels, empty for a symbol."""

    label: str
    colour: str
    glyph: str
    dash: str


def legends(specification: Any) -> dict[str, list[Entry]]:
    """Entries by title of every legend of a figure, each once. Scales of legends have a domain and a range."""
    found: dict[str, list[Entry]] = {}
    for channel, definition in _definitions(specification):
        legend = definition.get("legend", {})
        scale = definition.get("scale", {})
        if legend is None or "domain" not in scale or "range" not in scale:
            continue
        shown = legend.get("values", scale["domain"])
        title = legend.get("title", definition.get("title", definition["field"]))
        entries = [
            _entry(channel, plain(str(name)), mark)
            for name, mark in zip(scale["domain"], scale["range"], strict=False)
            if name in shown
        ]
        found.setdefault(titled(plain(title or "")), entries)
    return found


def _entry(channel: str, label: str, mark: Any) -> Entry:
    if channel == "color":
        return Entry(label, mark, GLYPHS["square"], "")
    if channel == "shape":
        return Entry(label, GREY, GLYPHS[mark], "")
    return Entry(label, GREY, "", " ".join(f"{length:g}" for length in mark))


def _definitions(part: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Channel and definition of every encoding that can have a legend."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name in CHANNELS and isinstance(value, dict) and "field" in value:
                yield name, value
            elif name != "datasets":
                yield from _definitions(value)
    elif isinstance(part, list):
        for value in part:
            yield from _definitions(value)
