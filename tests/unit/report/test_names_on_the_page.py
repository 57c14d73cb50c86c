"""Names on the page: told apart as they are written, never cut to one text, never run."""

import re
from pathlib import Path
from xml.etree import ElementTree

import altair as alt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import build_tables, example_study, write_inputs

from headwise.analyses.recursion.report.charts import DRAWN, generations_chart
from headwise.analyses.specialization.report.views import contrasts_view
from headwise.analyses.variants.report.charts import confound_chart
from headwise.report.chart_parts import labelled, methods, model_axis
from headwise.report.columns import Tables
from headwise.report.figures import Figure, figures, render, specification
from headwise.report.findings import findings
from headwise.report.labels import (
    BASE,
    LONGEST_LABEL,
    labels_of_methods,
    method_labels,
    short_labels,
)
from headwise.report.models_part import models_view

STUDY = example_study(bases=("multi_head", "grouped_query"), methods=("sft", "dpo"), seeds=(1, 2))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return build_tables(STUDY, write_inputs(STUDY, tmp_path_factory.mktemp("inputs"), np.random.default_rng(5)))


def with_methods(tables: Tables, names: dict[str, str | None]) -> Tables:
    """The tables of the same study as if its authors had called the methods otherwise."""
    return {
        name: table.assign(method=table["method"].map(lambda each: names.get(each, each), na_action="ignore"))
        if "method" in table
        else table
        for name, table in tables.items()
    }


NAME = st.text("ab_-.", min_size=1, max_size=6).map(lambda text: f"x{text}")
LONG = st.builds(lambda head, middle, tail: head * 30 + middle + tail * 30, NAME, NAME, NAME)


@settings(max_examples=60, deadline=None)
@given(st.lists(NAME | LONG | st.text(max_size=80), max_size=8))
def test_different_names_have_different_labels(names: list[str]) -> None:
    labels = short_labels(names)
    assert set(labels) == set(names)
    assert len(set(labels.values())) == len(set(names))
    if all(len(name) <= LONGEST_LABEL for name in names):
        assert all("…" not in label or "…" in name for name, label in labels.items())


def test_a_label_is_shortened_in_its_middle_and_no_further_than_names_differ() -> None:
    stem = "the_same_fifty_characters_stand_before_and_after_it"
    alone = short_labels([f"{stem}_a_{stem}"]).popitem()[1]
    assert len(alone) == LONGEST_LABEL
    assert alone.startswith("the same fifty")
    assert alone.endswith("before and after it")
    pair = short_labels([f"{stem}_a_{stem}", f"{stem}_b_{stem}"])
    assert len(set(pair.values())) == 2
    assert short_labels(["a_b", "a b"]) == {"a_b": "a_b", "a b": "a b"}
    assert short_labels(["1", "01"]) == {"1": "1", "01": "01"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.sampled_from(["sft", "SFT", "Sft", "base", "a_b", "a.b", "unnamed_alignment", "dpo"])))
def test_different_methods_have_different_labels_and_none_is_that_of_bases(names: list[str | None]) -> None:
    labels = method_labels(names, {})
    assert len(set(labels.values())) == len(set(names))
    assert BASE not in labels.values()
    assert labels.get(None, "unnamed alignment") == "unnamed alignment"


def test_methods_that_differ_in_case_are_told_apart_in_sentences_tables_and_figures(tables: Tables) -> None:
    plain = {finding.id: finding for finding in findings(STUDY, tables)}
    renamed = with_methods(tables, {"dpo": "SFT"})
    found = findings(STUDY, renamed)
    identities = [finding.id for finding in found]
    assert len(set(identities)) == len(identities)
    sentences = {finding.id: finding.sentence for finding in found}
    assert sentences["method:sft"] == plain["method:sft"].sentence.replace("SFT", "SFT (sft)")
    assert sentences["method:SFT"] == plain["method:dpo"].sentence.replace("DPO", "SFT (SFT)")
    for topic in ("training", "families", "interaction:grouped_query"):
        assert sentences[f"{topic}:SFT"] == plain[f"{topic}:dpo"].sentence.replace("DPO", "SFT (SFT)")
    cells = [row[0] for row in contrasts_view(STUDY, renamed, confirmatory=True).rows]
    assert len(set(cells)) == len(cells)
    assert [row[1] for row in models_view(STUDY, renamed).rows if "SFT" in row[1]] == [
        "SFT (sft) of multi head",
        "SFT (SFT) of multi head",
        "SFT (sft) of grouped query",
        "SFT (SFT) of grouped query",
    ]


@pytest.mark.parametrize("name", ["base", None])
def test_a_model_is_a_base_by_what_it_descends_from_not_by_a_label(tables: Tables, name: str | None) -> None:
    renamed = with_methods(tables, {"dpo": name})
    label = labels_of_methods(STUDY, renamed)[name]
    assert label != BASE
    sentences = [finding.sentence for finding in findings(STUDY, renamed) if finding.topic == "method"]
    assert sum(f"Under {label} the" in sentence for sentence in sentences) == 1
    cells = [row[0] for row in contrasts_view(STUDY, renamed, confirmatory=True).rows]
    assert f"Change under {label}: grouped query against multi head" in cells
    assert cells.count("Grouped query against multi head") == 1


def test_figures_take_an_aligned_model_called_base_for_an_aligned_one(tables: Tables) -> None:
    study = STUDY.model_copy(
        update={
            "models": [
                model.model_copy(update={"method": "base"}) if getattr(model, "method", None) == "dpo" else model
                for model in STUDY.models
            ]
        }
    )
    assert methods(study) == [BASE, "SFT", "base (base)"]
    rows = labelled(study, with_methods(tables, {"dpo": "base"})["training"])
    assert set(rows.loc[rows["method"] == BASE, "model"]) == {"multi_head", "grouped_query"}
    drawn = {figure.name: figure for figure in figures(study, with_methods(tables, {"dpo": "base"}))}
    titles = re.findall(r'"title": "([^"]+)"', str(drawn["training"].specification).replace("'", '"'))
    assert {"multi head", "multi head, SFT", "multi head, base (base)"} <= set(titles)


def test_names_that_share_fifty_characters_are_two_rows_of_an_axis(tmp_path: Path) -> None:
    before, after = "a_model_whose_name_is_long_enough_to_be_cut_by_a_chart", "and_whose_end_is_that_of_another_one"
    study = example_study(bases=(f"{before}_1_{after}", f"{before}_2_{after}"), methods=(), seeds=(1,))
    tables = build_tables(study, write_inputs(study, tmp_path, np.random.default_rng(1)))
    (figure,) = [each for each in figures(study, tables) if each.name == "specialization"]
    svg = render(figure)[".svg"].decode()
    texts = [text for text in text_of(svg) if text.startswith("a model")]
    assert len(texts) == len(set(texts)) == 4  # on the axis, and whole in the legend


def test_long_names_are_lines_and_rows_of_their_own_in_the_figures_of_the_analyses(tables: Tables) -> None:
    stem = "the_same_fifty_characters_stand_before_what_differs_here"
    arms = [f"{stem}_one_{stem}", f"{stem}_two_{stem}"]
    generations = [
        {"arm": arm, "seed": 1, "generation": generation, **dict.fromkeys(DRAWN, 0.5)}
        for arm in arms
        for generation in (1, 2)
    ]
    drawn = [generations_chart(STUDY, {"recursion_generations": pd.DataFrame(generations)})]
    shifts = [
        {"variant": arm, "model": model.name, "family": STUDY.family_of(model), "seed": 1, "difference": 0.1,
         "estimator": "hellinger", "sink": "kept"}
        for arm in arms for model in STUDY.models
    ]  # fmt: skip
    confounds = pd.DataFrame(columns=["sink", "estimator", "alignment_effect", "spread_between_models"])
    drawn.append(confound_chart(STUDY, {"variants": pd.DataFrame(shifts), "confounds": confounds}))
    for chart, field in zip(drawn, ("arm", "variant"), strict=True):
        rows = [row for values in specification(chart)["datasets"].values() for row in values if field in row]
        shown = {row[field] for row in rows}
        assert len(shown) == 2
        assert all("…" in name for name in shown)


HOSTILE = ["</text><script>alert(1)</script>", "a\"b'c&d", "x.y[0]", "{{x}} \\ ${y}", "שלום", "🙂‍↔️", "null", "1e5", ""]


def text_of(svg: str) -> list[str]:
    """Everything that an SVG writes. Raises where it is no well-formed XML."""
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_a_figure_writes_any_name_as_it_is_and_runs_none() -> None:
    rows = pd.DataFrame({"label": HOSTILE, "value": range(len(HOSTILE))})
    chart = alt.Chart(rows, title=HOSTILE[0]).mark_point().encode(x="value:Q", y=model_axis(rows), shape="label:N")
    svg = render(Figure("names", "", "", "", specification(chart)))[".svg"].decode()
    written = text_of(svg)
    for name in filter(None, HOSTILE):
        assert written.count(name) >= 2, name  # on the axis and in the legend
    assert "<script" not in svg
