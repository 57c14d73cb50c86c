"""Figures: the data that they show, their words, their bytes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_examples import build_tables, example_study, write_inputs

from headwise.analyses.specialization.report.head_maps import head_maps_chart
from headwise.report.figures import Figure, draw_figures, figures, in_fixed_order, own_identifiers, render
from headwise.report.labels import p_value
from headwise.report.style import COLOURS
from headwise.report.tables import table_metadata, write_tables
from headwise.report.verdicts import in_words
from headwise.runtime.json_files import json_text
from headwise.study.study import Study
from headwise.tables.frame import records

NAMES = ["specialization", "change", "layers", "head_permutation", "descriptors", "head_maps", "training"]
STUDY = example_study(seeds=(1, 2))
Tables = dict[str, pd.DataFrame]


def tables_of(study: Study, folder: Path) -> Tables:
    return build_tables(study, write_inputs(study, folder, np.random.default_rng(3)))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return tables_of(STUDY, tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def drawn(tables: Tables) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures(STUDY, tables)}


def objects(specification: Any) -> Iterator[dict[str, Any]]:
    """All objects within a specification, itself among them."""
    if isinstance(specification, dict):
        yield specification
        for value in specification.values():
            yield from objects(value)
    elif isinstance(specification, list):
        for value in specification:
            yield from objects(value)


def rows_of(figure: Figure) -> list[dict[str, Any]]:
    """All rows of data that a figure holds, those of one model or family, not lines that help to read it."""
    return [row for values in figure.specification["datasets"].values() for row in values if "family" in row]


def assert_shows(figure: Figure, table: pd.DataFrame, columns: list[str]) -> None:
    """The figure's rows hold the same numbers as the table's rows, none missing, none added."""
    shown = pd.DataFrame(rows_of(figure))[columns].sort_values(columns).reset_index(drop=True)
    expected = table[columns].sort_values(columns).reset_index(drop=True)
    for column in columns:
        if expected[column].dtype == "float64":
            np.testing.assert_array_equal(shown[column].astype("float64"), expected[column])
        else:
            assert list(shown[column].astype(str)) == list(expected[column].astype(str))


def test_specialization_shows_the_values_of_whole_models(drawn: dict[str, Figure], tables: Tables) -> None:
    rows = tables["specialization"]
    rows = rows[rows["estimator"].eq("hellinger") & rows["sink"].eq("kept") & rows["scope"].eq("model")]
    assert len(rows) == 18
    assert_shows(drawn["specialization"], rows, ["model", "family", "seed", "value"])


def test_change_shows_every_change_with_its_interval(drawn: dict[str, Figure], tables: Tables) -> None:
    rows = tables["comparisons"]
    rows = rows[rows["sink"].eq("kept") & rows["scope"].eq("refit") & rows["level"].eq("model")]
    assert len(rows) == 4 * 6 * 2
    rows = rows.rename(columns={"aligned": "model"})
    numbers = ["delta_absolute", "ci_low", "ci_high", "p_adjusted", "p_attainable"]
    rows = rows.assign(verdict=[in_words(row) for row in records(rows)])
    assert_shows(drawn["change"], rows, ["model", "seed", *numbers, "verdict"])
    for row in rows_of(drawn["change"]):
        assert row["significant"] == (row["p_adjusted"] <= 0.05)
        assert (row["adjusted"], row["attainable"]) == (p_value(row["p_adjusted"]), p_value(row["p_attainable"]))
    bands = [row for values in drawn["change"].specification["datasets"].values() for row in values if "low" in row]
    assert bands == [{"low": -0.02, "high": 0.02}]


def test_layers_shows_the_profile_of_the_primary_estimator(drawn: dict[str, Figure], tables: Tables) -> None:
    rows = tables["specialization"]
    rows = rows[rows["estimator"].eq("hellinger") & rows["sink"].eq("kept") & rows["scope"].eq("layer")]
    assert_shows(drawn["layers"], rows, ["model", "seed", "layer", "value"])


def test_training_shows_the_curves_and_the_unigram_entropy(drawn: dict[str, Figure], tables: Tables) -> None:
    assert_shows(drawn["training"], tables["training"], ["model", "seed", "step", "loss_nats"])
    assert {row["unigram"] for row in rows_of(drawn["training"]) if "-" not in row["model"]} == {5.6}
    assert {row["unigram"] for row in rows_of(drawn["training"]) if "-" in row["model"]} == {None}


def test_long_curves_are_thinned_but_keep_all_held_out_points(tables: Tables) -> None:
    steps = np.arange(10_001)
    curve = pd.DataFrame({"step": steps, "split": "train", "loss_nats": 5 / (1 + steps), "learning_rate": 0.1})
    held_out = curve[curve["step"] % 7 == 0].assign(split="held_out")
    long = pd.concat([curve, held_out]).assign(model="multi_head", family="multi_head", base=None, method=None, seed=1)
    (figure,) = [each for each in figures(STUDY, {**tables, "training": long}) if each.name == "training"]
    shown = pd.Series([row["split"] for row in rows_of(figure)]).value_counts()
    assert 50 < shown["training text"] < 100
    assert shown["held-out text"] == len(held_out)


def test_head_permutation_shows_the_primary_estimator_and_what_moves(drawn: dict[str, Figure], tables: Tables) -> None:
    rows = tables["checks"]
    rows = rows[rows["check"].eq("head_permutation") & rows["sink"].eq("kept")]
    rows = rows[rows["estimator"].isin(["hellinger", "entropy_profile"])]
    assert_shows(drawn["head_permutation"], rows, ["model", "seed", "value", "checked_value"])
    for row in rows_of(drawn["head_permutation"]):
        assert row["high"] - row["checked_value"] == pytest.approx(row["checked_value"] - row["low"], abs=1e-15)


def test_descriptors_shows_the_highest_and_the_median_head(drawn: dict[str, Figure], tables: Tables) -> None:
    heads = tables["descriptors"]
    heads = heads[heads["model"].eq("multi_head") & heads["seed"].eq(2) & heads["layer"].eq(3)]
    shown = [
        row
        for row in rows_of(drawn["descriptors"])
        if (row["label"], row["seed"], row["layer"]) == ("multi head", 2, 3)
    ]
    assert len(shown) == 2 * 6
    for name in ("previous_token", "induction", "distance_tokens"):
        values = sorted(heads[name])
        assert {"highest head", "median head"} == {row["head"] for row in shown}
        assert values[-1] in [row["value"] for row in shown if row["head"] == "highest head"]
        assert (values[3] + values[4]) / 2 in [row["value"] for row in shown if row["head"] == "median head"]


def test_head_maps_hold_descriptors_of_bases_and_their_changes(drawn: dict[str, Figure], tables: Tables) -> None:
    heads = tables["descriptors"]
    (shown,) = drawn["head_maps"].specification["datasets"].values()
    assert len(shown) == len(heads)
    place = {"seed": 2, "layer": 1, "head": 5}
    of_head = heads[(heads[list(place)] == pd.Series(place)).all(axis=1)].set_index("model")["induction"]
    values = {row["label"]: row["induction"] for row in shown if place.items() <= row.items()}
    assert values["multi head"] == of_head["multi_head"]
    assert values["multi head-sft − its base"] == of_head["multi_head-sft"] - of_head["multi_head"]
    assert "stability" not in shown[0]  # this study has no such analysis


def test_head_maps_leave_a_head_without_a_number_blank(tables: Tables) -> None:
    """A base that is a group of refits has a stability; a head of it without one, and all other models, have null."""
    rows = [
        {"group": "multi_head", "analysis": "head_stability", "version": "corrected", "weights": "trained"}
        | {"measure": "cosine", "refit": refit, "layer": layer, "head": head, "value": None if head == 3 else 0.5}
        for refit, layer, head in np.ndindex(2, 6, 8)
    ]
    stability = pd.DataFrame(rows).reindex(columns=tables["stability"].columns)
    chart = head_maps_chart(STUDY, {**tables, "stability": stability})
    (shown,) = chart.to_dict()["datasets"].values()
    assert json_text(shown, "the map")
    values = {row["stability"] for row in shown if row["label"] == "multi head" and row["head"] != 3}
    assert values == {0.5}
    assert {row["stability"] for row in shown if row["label"] != "multi head" or row["head"] == 3} == {None}


def test_people_read_no_underscores(drawn: dict[str, Figure]) -> None:
    assert list(drawn) == NAMES
    for figure in drawn.values():
        assert "_" not in figure.title + figure.caption
        for each in objects(figure.specification):
            for key in ("title", "text"):
                if isinstance(each.get(key), str):
                    assert "_" not in each[key]
        for row in rows_of(figure):
            assert "_" not in row["label"]


def test_pointing_at_a_figure_rounds_no_p_and_no_whole_number(drawn: dict[str, Figure]) -> None:
    for figure in drawn.values():
        for each in objects(figure.specification):
            for line in each["tooltip"] if isinstance(each.get("tooltip"), list) else ():
                rounded = line.get("type") == "quantitative"
                assert rounded == (line.get("format") == ".4~g")
                assert not rounded or line["field"] not in ("p_adjusted", "p_attainable", "step", "seed", "layer")


def test_a_family_has_one_colour_in_all_figures(drawn: dict[str, Figure]) -> None:
    families = ["multi_head", "grouped_query", "sliding_window"]
    for figure in drawn.values():
        if figure.name == "head_maps":
            continue
        scales = [
            each["color"]["scale"]
            for each in objects(figure.specification)
            if isinstance(each.get("color"), dict) and each["color"].get("field") == "family"
        ]
        assert scales
        for scale in scales:
            assert scale == {"domain": families, "range": list(COLOURS[:3])}


def test_the_same_figure_gives_the_same_bytes_without_a_time(drawn: dict[str, Figure]) -> None:
    for name in ("specialization", "change"):
        files = render(drawn[name])
        assert render(drawn[name]) == files
        assert files[".pdf"].startswith(b"%PDF")
        for mark in (b"/CreationDate", b"/ModDate", b"xmp:"):
            assert mark not in files[".pdf"]
        # More than one font, or anything translucent, and the writer numbers what it writes at random.
        assert len(set(re.findall(rb"/BaseFont /(\S+)", files[".pdf"]))) == 1
        assert b"/ExtGState" not in files[".pdf"]
        assert json.loads(files[".vl.json"]) == json.loads(json.dumps(drawn[name].specification))
        assert b"multi head-sft" in files[".svg"]


def test_the_resources_of_a_pdf_are_put_in_order() -> None:
    lines = [b"      /xo2 12 0 R\n", b"      /xo0 8 0 R\n", b"      /xo1 10 0 R\n"]
    written, other = (b"/XObject <<\n" + b"".join(order) + b"    >>\n" for order in (lines, lines[::-1]))
    assert in_fixed_order(written) == in_fixed_order(other) == b"/XObject <<\n" + b"".join(sorted(lines)) + b"    >>\n"


def test_nothing_translucent_is_drawn(drawn: dict[str, Figure]) -> None:
    for figure in drawn.values():
        for each in objects(figure.specification):
            for key in ("opacity", "fillOpacity", "strokeOpacity"):
                assert each.get(key, 1) == 1
            if isinstance(each.get("mark"), dict) and "type" in each["mark"]:
                kind = each["mark"]["type"]
                assert kind in ("point", "line", "rule", "tick") or each["mark"]["opacity"] == 1


def test_identifiers_are_numbered_within_the_figure() -> None:
    svg = '<svg><clipPath id="clip7"/><g clip-path="url(#clip7)"/><g id="clip70" fill="url(#clip70)"/></svg>'
    assert own_identifiers(svg, "change") == (
        '<svg><clipPath id="change-1"/><g clip-path="url(#change-1)"/><g id="change-2" fill="url(#change-2)"/></svg>'
    )


@pytest.mark.parametrize(
    ("study", "names"),
    [
        (example_study(bases=("solo",), methods=(), seeds=(7,)), [name for name in NAMES if name != "change"]),
        (example_study(bases=tuple(f"family_{number}" for number in range(14)), seeds=(1,)), NAMES),
    ],
    ids=["one model", "42 models"],
)
def test_any_number_of_models(study: Study, names: list[str], tmp_path: Path) -> None:
    inputs = write_inputs(study, tmp_path / "inputs", np.random.default_rng(3))
    tables = build_tables(study, inputs)
    drawn = figures(study, tables)
    assert [figure.name for figure in drawn] == names
    assert {row["model"] for row in rows_of(drawn[0])} == {model.name for model in study.models}
    if len(study.models) > 1:
        return
    write_tables(tables, tmp_path / "tables", table_metadata(study, inputs))
    draw_figures(study, tables=tmp_path / "tables", folder=tmp_path / "figures")
    files = {path.name for path in (tmp_path / "figures").iterdir()}
    assert files == {"figures.json"} | {f"{name}.{kind}" for name in names for kind in ("vl.json", "svg", "pdf")}
    listed = json.loads((tmp_path / "figures" / "figures.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in listed] == names
