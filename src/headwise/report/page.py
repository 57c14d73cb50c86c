"""report.html: one file that holds everything it shows, and fetches nothing."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from headwise.report import parts
from headwise.report.columns import Tables
from headwise.report.labels import amount, interval, marked_p, p_value, plain, signed
from headwise.report.tables import read_tables
from headwise.runtime.atomic import atomic
from headwise.runtime.json_files import read_json
from headwise.study.study import Study
from headwise.tables.frame import records


def write_page(study: Study, *, tables: Path, results: Path, figures: Path, page: Path) -> None:
    """Write the report of a study.

    `tables` and `figures` are the folders that `aggregate` and `draw_figures` wrote, `results` is
    results.json. Figures are inlined as SVG, which is what is seen without JavaScript and on paper; where
    JavaScript runs, pointing at a figure replaces it by its interactive form. The page forbids itself to load
    anything (Content-Security-Policy).
    """
    context = page_context(study, read_tables(tables), read_json(results), figures)
    with atomic(page) as temporary:
        temporary.write_text(render(context), encoding="utf-8")


def render(context: dict[str, Any]) -> str:
    """The page of a context as `page_context` makes it. All text is escaped."""
    # Vega's own bundle, for the interactive form; its start takes a second or two.
    import vl_convert

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"signed": signed, "p_value": p_value, "marked_p": marked_p}
    environment.globals["interval"] = interval
    scripts = [
        _script(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")),
        _script(_part("page.js")),
    ]
    template = environment.from_string(_part("page.html.jinja"))
    return template.render(**context, style=Markup(_part("page.css")), scripts=scripts) + "\n"


def page_context(study: Study, tables: Tables, results: dict[str, Any], figures: Path) -> dict[str, Any]:
    """Everything that the page's template shows."""
    drawn = [_figure(figures, listed) for listed in read_json(figures / "figures.json")]
    return {
        "study": study,
        "title": study.title or plain(study.name),
        "coverage": f"{100 * (1 - study.comparison.level):g} %",
        "measured": results["measured"],
        "counts": _counts(results["measured"]),
        "headlines": [finding for finding in results["findings"] if finding["headline"]],
        "others": [finding for finding in results["findings"] if not finding["headline"]],
        "parts": _parts(study, tables, drawn),
        "provenance": results["provenance"],
        "digest": results["study"]["digest"],
        "weights": records(tables["models"][["model", "seed", "weights_digest"]]),
        "study_file": yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    }


def _counts(measured: dict[str, Any]) -> str:
    """What was measured, in one sentence."""
    aligned = f" and {amount(measured['aligned'], 'aligned descendant')}" if measured["aligned"] else ""
    return (
        f"{amount(measured['bases'], 'base model')}{aligned} in "
        f"{amount(measured['families'], 'family', 'families')}, "
        f"{amount(measured['checkpoints'], 'checkpoint')} in all, on {amount(measured['prompts'], 'prompt')} "
        f"of {amount(measured['prompt_domains'], 'domain')}, by "
        f"{amount(len(measured['estimators']), 'estimator')}; "
        f"{amount(measured['confirmatory_tests'], 'test')} declared in advance, "
        f"{measured['exploratory_tests']} exploratory."
    )


def _parts(study: Study, tables: Tables, drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sections of analyses; one that has nothing to show is left out."""
    sections = [
        {
            "name": part.name,
            "title": part.title,
            "passages": list(part.passages(study, tables)),
            "figures": [figure for figure in drawn if figure["part"] == part.name],
        }
        for part in parts.PARTS
    ]
    return [section for section in sections if section["passages"] or section["figures"]]


def _figure(folder: Path, listed: dict[str, str]) -> dict[str, Any]:
    """A figure's words, its SVG, and its specification as JSON that is safe inside a script element."""
    svg = (folder / f"{listed['name']}.svg").read_text(encoding="utf-8")
    specification = json.dumps(
        read_json(folder / f"{listed['name']}.vl.json"), ensure_ascii=False, separators=(",", ":")
    )
    return {**listed, "svg": Markup(svg), "specification": Markup(specification.replace("<", "\\u003c"))}


def _part(name: str) -> str:
    return files("headwise.report").joinpath(name).read_text(encoding="utf-8")


def _script(source: str) -> Markup:
    """JavaScript that cannot end its script element early."""
    return Markup(source.replace("</script", "<\\/script").replace("<!--", "<\\!--"))
