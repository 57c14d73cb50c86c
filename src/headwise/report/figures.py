"""Figures: one specification each, saved as Vega-Lite (for the interactive page), SVG and PDF."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt

from headwise.report import parts
from headwise.report.columns import Tables
from headwise.report.style import styled
from headwise.report.tables import read_tables
from headwise.runtime.atomic import atomic
from headwise.runtime.json_files import json_text, write_json
from headwise.runtime.progress import track
from headwise.study.study import Study

PAPER = 672  # pixels: 7 inches, the width of a text of two columns
BESIDE = 20  # at least, for the axis of a panel


@dataclass(frozen=True)
class Figure:
    """A figure: name of its files, title, caption (what is drawn, how to read it), the part of the report that it
    belongs to, and specification."""

    name: str
    title: str
    caption: str
    part: str
    specification: dict[str, Any]


def figures(study: Study, tables: Tables) -> list[Figure]:
    """The figures of a study, in the order of the report. A figure that would be empty is left out."""
    found = []
    # The charts hold what they need and no more; the library's limit of 5,000 rows is meant for notebooks.
    with alt.data_transformers.disable_max_rows():
        for part in parts.PARTS:
            for each in part.charts(study):
                if drawn := each.draw(study, tables):
                    found.append(Figure(each.name, each.title, each.caption, part.name, specification(drawn)))
    return found


def specification(drawn: Any) -> dict[str, Any]:
    """The specification of a chart, or of its panels side by side: as many as a page of paper is wide."""
    panels = drawn if isinstance(drawn, list) else [drawn]
    if len(panels) == 1:
        return dict(styled(panels[0]).to_dict())
    columns = max(1, PAPER // (int(panels[0].to_dict()["width"]) + BESIDE))
    return dict(styled(alt.concat(*panels, columns=columns, spacing=16)).to_dict())


def draw_figures(study: Study, tables: Path, folder: Path) -> None:
    """Draw the figures from the tables in a folder: `folder`/{name}.vl.json, .svg and .pdf, and figures.json.

    figures.json lists name, title, caption and part of each, in order.
    """
    drawn = figures(study, read_tables(tables))
    with atomic(folder) as temporary:
        temporary.mkdir()
        for figure in track(drawn, "drawing figures", len(drawn)):
            for suffix, content in render(figure).items():
                (temporary / f"{figure.name}{suffix}").write_bytes(content)
        words = [{key: getattr(each, key) for key in ("name", "title", "caption", "part")} for each in drawn]
        write_json(words, temporary / "figures.json")


def render(figure: Figure) -> dict[str, bytes]:
    """Content of a figure's files by suffix: .vl.json, .svg, .pdf. The same figure gives the same bytes."""
    # Vega-Lite to SVG and PDF without a browser and without a network; its start takes a second.
    import vl_convert

    specification = json_text(figure.specification, f"figure '{figure.name}'")
    svg = own_identifiers(vl_convert.vegalite_to_svg(figure.specification), figure.name)
    return {
        ".vl.json": f"{specification}\n".encode(),
        ".svg": f"{svg}\n".encode(),
        ".pdf": in_fixed_order(vl_convert.vegalite_to_pdf(figure.specification)),
    }


def in_fixed_order(pdf: bytes) -> bytes:
    """The PDF with the resources of each kind in the order of their names; the order of the converter changes.

    Only lines change places, so that the table of offsets at the end of the file stays true.
    """
    resources = re.compile(rb"(?:^ +/[a-z]+\d+ \d+ 0 R\n)+", re.MULTILINE)
    return resources.sub(lambda lines: b"".join(sorted(lines[0].splitlines(keepends=True))), pdf)


def own_identifiers(svg: str, name: str) -> str:
    """The SVG with its ids numbered from 1 and prefixed with the figure's name.

    The drawing library counts ids over the life of a process; and figures on one page must not share ids.
    """
    identifiers = dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg))
    for position, identifier in enumerate(identifiers, start=1):
        svg = svg.replace(f'id="{identifier}"', f'id="{name}-{position}"')
        svg = svg.replace(f"url(#{identifier})", f"url(#{name}-{position})")
    return svg
