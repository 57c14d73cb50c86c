"""The page of a re-analysis: one file that loads nothing."""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from headwise.provenance import library_versions
from headwise.reanalysis.row import Row

# Kinds of rows: heading, and what a reader should know.
SECTIONS = {
    "Indices": (
        ("index", "head order", "left-out layers", "bootstrap over layers"),
        "The printed index computed again from its matrix of entropies; with heads in random orders within layers (an "
        "index that hardly changes does not measure which head does what); without single layers; and over resampled "
        "layers, an interval that describes the layers of one model, not other models, prompts or refits.",
    ),
    "Changes": (
        ("absolute change", "relative change"),
        "Aligned minus base, in units of the index and in per cent of the base: two columns that are easily mixed up.",
    ),
    "Noise": (
        ("noise slope", "noise ratio"),
        "Slopes of perplexity and of its logarithm over the size of noise. A ratio whose denominator cannot be told "
        "from zero has no bounds; on the scale of logarithms the ratio of the same curves is printed beside it.",
    ),
    "Claims and seeds": (
        ("claimed p", "seeds"),
        "Each claimed p beside the smallest that an exact test of its design can give, and whether seeds differ.",
    ),
    "Not used": (("not used",), "Files of which nothing is used, and why."),
}
Cell = Callable[[Row], str]
COLUMNS: tuple[tuple[str, Cell, str], ...] = (
    ("Model", lambda row: row.model or "–", "name"),
    ("Quantity", lambda row: row.quantity, "text"),
    ("Printed", lambda row: figure(row.printed), "number"),
    ("Recomputed", lambda row: figure(row.value), "number"),
    ("Low", lambda row: figure(row.low), "number"),
    ("High", lambda row: figure(row.high), "number"),
    ("p", lambda row: figure(row.p), "number"),
    ("Smallest p", lambda row: figure(row.p_attainable), "number"),
    ("n", lambda row: "–" if row.n is None else str(row.n), "number"),
    ("Same", lambda row: row.agreement or "–", "name"),
    ("Remark", lambda row: row.remark or "", "text"),
    ("Method", lambda row: row.method, "text"),
    ("File and place", lambda row: f"{row.file}: {row.place}" if row.place else row.file, "text"),
)


def figure(value: float | None) -> str:
    """A number with five digits and a typographic minus; a dash where there is none."""
    return "–" if value is None else f"{value:.5g}".replace("-", "−")


def page(rows: Sequence[Row], digests: Mapping[str, str]) -> str:
    """The page. All text is escaped. `digests`: SHA-256 by file."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    sections = []
    for title, (kinds, note) in SECTIONS.items():
        shown = [row for kind in kinds for row in rows if row.kind == kind]
        cells = [[cell(row) for _, cell, _ in COLUMNS] for row in shown]
        if cells:
            sections.append({"title": title, "note": note, "rows": cells})
    template = files("headwise.reanalysis").joinpath("page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        sections=sections,
        head=[(head, kind) for head, _, kind in COLUMNS],
        files=digests,
        version=library_versions().get("headwise", ""),
        style=Markup(files("headwise.report").joinpath("page.css").read_text(encoding="utf-8")),
    )
