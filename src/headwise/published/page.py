"""The page of a re-analysis: one file that loads nothing."""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from headwise.published.findings import findings
from headwise.published.findings_beside import missing
from headwise.published.row import Row, figure
from headwise.runtime.provenance import library_versions

# Of each kind of rows: heading, and what a reader should know.
KINDS = {
    "index": ("Indices", "The printed index, computed again from its matrix of entropies."),
    "matrix": (
        "Distinct matrices",
        "Several printed indices may come from one matrix: its copies are no further measurements.",
    ),
    "head order": (
        "Indices with heads in random orders",
        "Heads in random orders within their layers: mean, least and most. An index that hardly changes does not "
        "measure which head does what.",
    ),
    "left-out layers": ("Indices without single layers", "How much of an index hangs on a few layers."),
    "bootstrap over layers": (
        "Indices over resampled layers",
        "An interval that describes the layers of one model: not other models, prompts or refits.",
    ),
    "absolute change": ("Changes", "Aligned minus base, in units of the index."),
    "relative change": ("Changes in per cent", "Aligned minus base, in per cent of the base."),
    "noise slope": ("Slopes over noise", "Slopes of perplexity and of its logarithm over the size of noise."),
    "noise ratio": (
        "Ratios of slopes",
        "A ratio whose denominator cannot be told from zero has no bounds; on the scale of logarithms the ratio of the "
        "same curves stands beside it.",
    ),
    "claim": (
        "Claims of significance",
        "Each distinct claim once: what it claims, the printed p, the p of an exact test where its data are there, the "
        "smallest p that its design can give, and our verdict.",
    ),
    "probe": (
        "Probes: the best of many cells",
        "The published effects are the best of all regions and sizes of noise. Beside the largest rise and fall: what "
        "the best cell would be, were the sign of each region's response a coin's, and were there nothing but the "
        "spread of seeds; and the gap that the same choice makes within one model.",
    ),
    "quoted slope": ("Quoted slopes", "Slopes that a file quotes, beside the nearest of the curves that are there."),
    "quoted ratio": (
        "Quoted ratios of slopes",
        "Beside the ratio of those curves of the named experiment that are there, and of every curve of both models.",
    ),
    "repetition slope": (
        "Slopes of repetition",
        "How steeply the share of repeated text rises with noise, computed again.",
    ),
    "repetition change": (
        "Changes of the slope of repetition",
        "Aligned minus base, by region; seeds are draws of noise in one pair of models, no further models.",
    ),
    "one model": ("One model, several indices", "Printed indices of one model that differ, and where they stand."),
    "scale": ("Ranges of scale", "The range of sizes that a file's models span, beside the one it claims."),
    "no spread": (
        "Spreads of 0",
        "Standard deviations, errors, and widths of intervals that are 0: nothing was repeated that could differ.",
    ),
    "failed run": ("Failed runs", "Runs that ended in an error: nothing was measured."),
    "named file": ("Sources that are not here", "Files that others name as their source."),
    "seeds": ("Seeds", "Whether the seeds of one measurement differ."),
    "not used": ("Not used", "Files, and parts of files, that could not be used, and why."),
}
# Rows of a kind that are seen at once; the others unfold.
SHOWN = 12
Cell = Callable[[Row], str]
# The first column is always there, any other where one of its rows has something to say.
COLUMNS: tuple[tuple[str, Cell, str], ...] = (
    ("Model", lambda row: row.model or "–", "name"),
    ("Seed", lambda row: row.seed or "–", "name"),
    ("Quantity", lambda row: row.quantity, "text"),
    ("Printed", lambda row: figure(row.printed), "number"),
    ("Recomputed", lambda row: figure(row.value), "number"),
    ("Low", lambda row: figure(row.low), "number"),
    ("High", lambda row: figure(row.high), "number"),
    ("p", lambda row: figure(row.p), "number"),
    ("Smallest p", lambda row: figure(row.p_attainable), "number"),
    ("n", lambda row: "–" if row.n is None else str(row.n), "number"),
    ("Times printed", lambda row: "–" if row.times is None else str(row.times), "number"),
    ("Verdict", lambda row: row.verdict or "–", "name"),
    ("Same", lambda row: row.agreement or "–", "name"),
    ("Remark", lambda row: row.remark or "", "text"),
    ("File and place", lambda row: f"{row.file}: {row.place}" if row.place else row.file, "text"),
    ("Method", lambda row: row.method, "text"),
)


def page(rows: Sequence[Row], digests: Mapping[str, str]) -> str:
    """The page. All text is escaped. `digests`: SHA-256 by file."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    sections = [
        {"title": title, "note": note, **_table([row for row in rows if row.kind == kind])}
        for kind, (title, note) in KINDS.items()
        if any(row.kind == kind for row in rows)
    ]
    template = files("headwise.published").joinpath("page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        findings=findings(rows),
        missing=missing(rows),
        sections=sections,
        files=digests,
        version=library_versions().get("headwise", ""),
        style=Markup(files("headwise.report").joinpath("page.css").read_text(encoding="utf-8")),
    )


def _table(rows: Sequence[Row]) -> dict[str, object]:
    """Head, rows and folded rows of a table; rows with a number computed again come first."""
    rows = sorted(rows, key=lambda row: row.value is None)
    columns = [
        (title, cell, style)
        for number, (title, cell, style) in enumerate(COLUMNS)
        if number == 0 or any(cell(row) not in ("", "–") for row in rows)
    ]
    cells = [[cell(row) for _, cell, _ in columns] for row in rows]
    return {
        "head": [(title, style) for title, _, style in columns],
        "rows": cells[:SHOWN],
        "folded": cells[SHOWN:],
    }
