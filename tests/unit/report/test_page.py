"""report.html: self-contained, escaped, accessible, and true to the results."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_examples import aggregate, example_study, write_inputs

from headwise.analyses.specialization.report.views import descriptors_view
from headwise.report.figures import draw_figures
from headwise.report.labels import number, p_value
from headwise.report.page import page_context, render, write_page
from headwise.report.tables import read_tables
from headwise.runtime.json_files import read_json, write_json
from headwise.study.study import Study, study_model

HOSTILE = '</title><script>alert("1 & 2")</script>'
STUDY = example_study(bases=("multi_head", "grouped_query"), methods=("sft",), seeds=(1, 2)).model_copy(
    update={"title": HOSTILE}
)
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """What a browser would see: elements with attributes, text by element, and whether all are closed."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.text.setdefault(tag, []).append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.text[tag][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def report(study: Study, folder: Path, drawn: bool = True) -> Path:
    """Write a study's report, with its figures or without any."""
    inputs = write_inputs(study, folder / "inputs", np.random.default_rng(11))
    aggregate(study, inputs, tables=folder / "tables", results=folder / "results.json")
    if drawn:
        draw_figures(study, tables=folder / "tables", folder=folder / "figures")
    else:
        write_json([], folder / "figures" / "figures.json")
    paths = {"results": folder / "results.json", "figures": folder / "figures", "page": folder / "report.html"}
    write_page(study, tables=folder / "tables", **paths)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(STUDY, tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def source(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_nothing_is_fetched(page: Page, source: str) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img", "image", "audio", "video", "source")
        for name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset", "background"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
        assert "http" not in attributes.get("style", "")
    (style,) = page.text["style"]
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert len(source.encode()) < 5_000_000


def test_the_page_is_well_formed(page: Page) -> None:
    assert page.open == []
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    for anchor in page.all("a"):
        assert anchor["href"].removeprefix("#") in identifiers
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(name, identifiers[0]) in identifiers


def test_text_is_escaped(page: Page) -> None:
    assert page.text["title"] == [HOSTILE]
    assert page.text["h1"] == [HOSTILE]
    assert not any("alert(" in script for script in page.text["script"][-2:])
    assert sum(HOSTILE in text for text in page.text["pre"]) == 1


def test_headings_descend_one_level_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_tables_and_figures_can_be_read_without_seeing_them(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert all("scope" in cell for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) > 5
    stills = [each for each in page.all("div") if each.get("class") == "still"]
    assert len(stills) == len(page.all("figure")) == 7
    for still in stills:
        assert still["role"] == "img"
        assert len(still["aria-label"]) > 80
    assert len(page.all("figcaption")) == 7


def test_every_finding_is_told(page: Page, folder: Path) -> None:
    found = read_json(folder / "results.json")["findings"]
    said = " ".join(" ".join(page.text["p"]).split())
    order = [said.index(each["sentence"]) for each in found if each["headline"]]
    assert order == sorted(order)
    for each in found:
        assert each["sentence"] in said
        if each["p"] is not None:
            assert f"smallest attainable {p_value(each['p_attainable'])}" in said
    first_screen = " ".join(page.text["p"][: len(order) * 2 + 1])
    for each in found:
        assert (each["sentence"] in first_screen) == each["headline"]


def test_every_confirmatory_test_is_listed(page: Page, folder: Path) -> None:
    results = read_json(folder / "results.json")
    rows = [" ".join(row.split()) for row in page.text["tr"]]
    cells = page.text["td"]
    for test in results["comparisons"]:
        if test["role"] != "confirmatory":
            continue
        shown = (number(test["base_value"], 4), number(test["aligned_value"], 4), p_value(test["p_adjusted"]))
        assert all(cell in cells for cell in shown)
        name = test["aligned"].replace("_", " ")
        assert any(row.startswith(name) and all(cell in row for cell in shown) for row in rows)


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """What stands in a JSON value that is no list and no object, with its place."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, (*place, key))
    else:
        yield place, value


def test_the_interactive_figures_are_the_drawn_ones(page: Page, folder: Path) -> None:
    specifications = [
        json.loads(text)
        for attributes, text in zip(page.all("script"), page.text["script"], strict=True)
        if attributes.get("type") == "application/json"
    ]
    names = [each["data-name"] for each in page.all("figure")]
    drawn = [read_json(folder / "figures" / f"{name}.vl.json") for name in names]
    for shown, whole in zip(specifications, drawn, strict=True):
        ours, theirs = (list(leaves(each)) for each in (shown, whole))
        assert [(place, value) for place, value in ours if not isinstance(value, float)] == [
            (place, value) for place, value in theirs if not isinstance(value, float)
        ]
        numbers = [value for _, value in theirs if isinstance(value, float)]
        assert [value for _, value in ours if isinstance(value, float)] == pytest.approx(numbers, rel=1e-3, abs=0)
    assert sum("window.vegaEmbed=" in script.replace(" ", "") for script in page.text["script"]) == 1


def test_weights_without_a_digest_have_a_dash(folder: Path) -> None:
    tables = read_tables(folder / "tables")
    tables["models"] = tables["models"].assign(weights_digest=pd.NA)
    page = Page(render(page_context(STUDY, tables, read_json(folder / "results.json"), folder / "figures")))
    assert "multi_head, seed 1" in page.text["dt"]
    assert "–" in page.text["code"]
    assert not any(word in text for text in page.text["code"] for word in ("<NA>", "None"))


def test_the_study_can_be_run_again_from_the_page(page: Page) -> None:
    import yaml

    resolved = [text for text in page.text["pre"] if "comparison:" in text]
    assert study_model().model_validate(yaml.safe_load(resolved[0])) == STUDY


def test_the_same_results_give_the_same_bytes(folder: Path, source: str, tmp_path: Path) -> None:
    write_page(
        STUDY,
        tables=folder / "tables",
        results=folder / "results.json",
        figures=folder / "figures",
        page=tmp_path / "again.html",
    )
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == source


def test_a_study_that_compares_nothing_has_a_page_that_says_so(tmp_path: Path) -> None:
    study = example_study(bases=("solo",), methods=(), seeds=(7,))
    page = Page((report(study, tmp_path, drawn=False) / "report.html").read_text(encoding="utf-8"))
    text = " ".join(page.text["p"])
    assert "This study tests nothing" in text
    assert "Hellinger distance between heads of 1 base model, mean over seeds: 0." in text
    assert "How sure this is" not in page.text["h2"]


def test_the_page_says_which_share_of_rows_is_left_out(folder: Path) -> None:
    tables = read_tables(folder / "tables")
    shown = descriptors_view(tables)
    place = shown.head.index("Rows with nothing beside the first token (share)")
    shares = tables["descriptors"]["left_out_share"]
    expected = f"{number(shares.mean(), 3)} ({number(shares.max(), 3)})"
    assert {row[place] for row in shown.rows} == {expected}
