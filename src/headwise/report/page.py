"""report.html: one file that holds everything it shows, and fetches nothing."""

import json
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from headwise.report import parts
from headwise.report.columns import Tables
from headwise.report.finding import Finding
from headwise.report.labels import amount, interval, marked_p, p_value, plain
from headwise.report.legends import legends
from headwise.report.rows import Answer
from headwise.report.tables import read_tables
from headwise.runtime.atomic import atomic
from headwise.runtime.json_files import read_json
from headwise.study.study import Study
from headwise.tables.frame import records

GLYPHS = {Answer.YES: "✔", Answer.NO: "✘", Answer.EQUIVALENT: "≈", Answer.UNDECIDED: "?"}
MOST_WITHOUT_QUESTIONS = 8  # findings on the first screen of a study that asks nothing


# The page stays small: digits of numbers in figures that are drawn by it, and decimals (of pixels) in still ones.
DIGITS = 4
LARGEST_STILL = 100_000  # characters; of a larger drawing the page says where it lies
LONG_NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d{3,}(?![\w.])")


def write_page(study: Study, *, tables: Path, results: Path, figures: Path, page: Path) -> None:
    """Write the report of a study.

    `tables` and `figures` are the folders that `aggregate` and `draw_figures` wrote, `results` is
    results.json. Figures are inlined as SVG, but for large ones, which is what is seen without JavaScript and on paper;
    where JavaScript runs, they are drawn for the width that they have. The page forbids itself to load anything
    (Content-Security-Policy).
    """
    context = page_context(study, read_tables(tables), read_json(results), figures)
    with atomic(page) as temporary:
        temporary.write_text(render(context), encoding="utf-8")


def render(context: dict[str, Any]) -> str:
    """The page of a context as `page_context` makes it. All text is escaped."""
    # Vega's own bundle, for the interactive form; its start takes a second or two.
    import vl_convert

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"glyphs": GLYPHS, "evidence": evidence}
    environment.filters |= {"anchor": lambda name: f"asked-{name}", "code": _code}
    scripts = [
        _script(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")),
        _script(_part("page.js")),
    ]
    template = environment.from_string(_part("page.html.jinja"))
    return template.render(**context, style=Markup(_part("page.css")), scripts=scripts) + "\n"


def page_context(study: Study, tables: Tables, results: dict[str, Any], figures: Path) -> dict[str, Any]:
    """Everything that the page's template shows.

    A study with questions has a section for each; one without has a section for each part that found something for the
    first screen. The rest is the appendix.
    """
    drawn = {each["name"]: _figure(figures, each) for each in read_json(figures / "figures.json")}
    findings = [Finding.model_validate(each) for each in results["findings"]]
    first = [finding for finding in findings if finding.headline]
    asked = [section for part in parts.PARTS for section in part.sections(study, tables)]
    first = first if asked else first[:MOST_WITHOUT_QUESTIONS]
    told = {finding.part for finding in first}
    main = _main_figure([name for section in asked for name in section.figures], first, drawn)
    left = {name: figure for name, figure in drawn.items() if figure is not main}
    questions = [
        {"section": section, "figures": [left.pop(name) for name in section.figures if name in left]}
        for section in asked
    ]
    pieces = _pieces(study, tables, left.values(), [each for each in findings if each not in first])
    return {
        "study": study,
        "title": study.title or plain(study.name),
        "coverage": f"{100 * (1 - study.comparison.level):g} %",
        "counts": _counts(results["measured"]),
        "first": first,
        "main": main,
        "lights": [(part.name, light) for part in parts.PARTS if (light := part.light(tables)) is not None],
        "advice": [sentence for part in parts.PARTS for sentence in part.advice(study, tables)],
        "questions": questions,
        "pieces": [] if asked else [piece for piece in pieces if piece["name"] in told],
        "appendix": [piece for piece in pieces if asked or piece["name"] not in told],
        "provenance": results["provenance"],
        "digest": results["study"]["digest"],
        "weights": records(tables["models"][["model", "seed", "weights_digest"]]),
        "study_file": yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    }


def evidence(finding: Finding, coverage: str) -> str:
    """The numbers behind a finding, in one line."""
    asked = finding.topic == "question"
    said = [] if asked or finding.interval is None else [f"{coverage} interval {interval(*finding.interval)}"]
    said += [finding.numbers] if finding.numbers else []
    if finding.p is not None and asked:
        attainable = p_value(finding.p_attainable)
        said.append(
            f"adjusted p {marked_p({**dict(finding), 'p': finding.p_adjusted})}, smallest attainable {attainable}"
        )
    elif finding.p is not None:
        adjusted = "" if finding.p_adjusted is None else f", adjusted {p_value(finding.p_adjusted)}"
        said.append(f"p {marked_p(dict(finding))}{adjusted}, smallest attainable {p_value(finding.p_attainable)}")
    if not asked:
        said.append(f"unit: {finding.unit}, n = {finding.n}")
        said += [] if finding.p is None else ["declared in advance" if finding.confirmatory else "exploratory"]
    return " · ".join(said)


def _main_figure(asked: Sequence[str], first: Sequence[Finding], drawn: dict[str, dict[str, Any]]) -> Any:
    """The figure of the first screen: that of the first question, or of the first finding; None: no figure."""
    of_findings = [name for finding in first for name, figure in drawn.items() if figure["part"] == finding.part]
    return next((drawn[name] for name in [*asked, *of_findings, *drawn] if name in drawn), None)


def _counts(measured: dict[str, Any]) -> str:
    """What was measured, in one line."""
    aligned = f" and {amount(measured['aligned'], 'aligned descendant')}" if measured["aligned"] else ""
    return (
        f"{amount(measured['bases'], 'base model')}{aligned}, {amount(measured['checkpoints'], 'checkpoint')} in all; "
        f"{amount(measured['prompts'], 'prompt')}, {amount(len(measured['estimators']), 'estimator')}; "
        f"{amount(measured['confirmatory_tests'], 'test')} declared in advance, "
        f"{measured['exploratory_tests']} exploratory."
    )


def _pieces(
    study: Study, tables: Tables, drawn: Iterable[dict[str, Any]], findings: Sequence[Finding]
) -> list[dict[str, Any]]:
    """What parts have to show; one that has nothing is left out."""
    drawn = list(drawn)
    pieces = [
        {
            "name": part.name,
            "title": part.title,
            "figures": [figure for figure in drawn if figure["part"] == part.name],
            "findings": [finding for finding in findings if finding.part == part.name],
            "passages": list(part.passages(study, tables)),
        }
        for part in parts.PARTS
    ]
    return [piece for piece in pieces if piece["figures"] or piece["findings"] or piece["passages"]]


def _figure(folder: Path, listed: dict[str, str]) -> dict[str, Any]:
    """A figure's words, its SVG, its legends, and its specification as JSON that is safe inside a script element."""
    svg = (folder / f"{listed['name']}.svg").read_text(encoding="utf-8")
    svg = LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}", svg)
    if len(svg) > LARGEST_STILL:
        svg = f"<p>This figure is drawn where JavaScript runs; as a still it lies in figures/{listed['name']}.svg.</p>"
    specification = read_json(folder / f"{listed['name']}.vl.json")
    text = json.dumps(_short(specification), ensure_ascii=False, separators=(",", ":"))
    return {
        **listed,
        "svg": Markup(svg),
        "legends": legends(specification),
        "specification": Markup(text.replace("<", "\\u003c")),
    }


def _short(value: Any) -> Any:
    """A specification with numbers of as many digits as anyone sees; the files beside the page have all of them."""
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_short(each) for each in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _part(name: str) -> str:
    return files("headwise.report").joinpath(name).read_text(encoding="utf-8")


def _code(sentence: str) -> Markup:
    """A sentence with what stands between backticks as code."""
    pieces = [escape(piece) for piece in sentence.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(each) if n % 2 else each for n, each in enumerate(pieces))


def _script(source: str) -> Markup:
    """JavaScript that cannot end its script element early."""
    return Markup(source.replace("</script", "<\\/script").replace("<!--", "<\\!--"))
