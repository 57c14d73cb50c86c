"""Variants of the extraction in the report: sentences, tables and figure say what the table of confounds holds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_examples import Measured, aggregate, build_tables, example_study, write_inputs

from headwise.analyses.variants.confounds import gather_variants
from headwise.analyses.variants.report.charts import charts
from headwise.analyses.variants.report.findings import findings
from headwise.analyses.variants.report.views import passages, small
from headwise.report.columns import Tables
from headwise.report.figures import draw_figures
from headwise.report.page import write_page
from headwise.runtime.json_files import read_json
from headwise.runtime.parquet import read_metadata, read_table, write_table
from headwise.study.study import Study

STUDY = example_study(bases=("multi_head", "grouped_query"), methods=("sft",), seeds=(1,))
# Variant, choices, mean difference of both estimators.
VARIANTS = [("right", "padding", 1e-6), ("right_unmasked", "averaging", -0.2), ("chat", "template", 0.004)]


def shifts(study: Study, right: float = 1e-6) -> pd.DataFrame:
    """Every model under every variant; the same difference in each."""
    rows = []
    for position, model in enumerate(study.models):
        for variant, choices, difference in VARIANTS:
            for estimator in ("hellinger", "entropy_profile"):
                change = right if variant == "right" else difference
                rows.append(
                    {
                        "model": model.name,
                        "family": study.family_of(model),
                        "base": getattr(model, "base", None),
                        "method": getattr(model, "method", None),
                        "seed": 1,
                        "variant": variant,
                        "reference": "right" if variant == "right_unmasked" else "study",
                        "choices": choices,
                        "choice_count": 1,
                        "padding": "none" if variant == "chat" else "right",
                        "pad_to": None if variant == "chat" else 128,
                        "template": "chat" if variant == "chat" else "raw",
                        "first_token": "tokenizer",
                        "special_tokens": "once",
                        "dtype": "float32",
                        "estimator": estimator,
                        "sink": "kept",
                        "value": 0.3 + 0.1 * position + change,
                        "reference_value": 0.3 + 0.1 * position,
                        "difference": change,
                        "prompts": 12,
                    }
                )
    nullable = ("pad_token", "averaging", "position_ids", "largest_layer_difference", "reason")
    return pd.DataFrame(rows).assign(**dict.fromkeys(nullable))


def analyses(study: Study, folder: Path, comparisons: list[Path], **changes: float) -> list[Path]:
    part = folder / "part.parquet"
    write_table(shifts(study, **changes), part, {"prompts_digest": "c" * 64})
    outputs = {name: folder / f"{name}.parquet" for name in ("variants", "confounds")}
    gather_variants([part], comparisons, **outputs, study=study.name)
    return list(outputs.values())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("report")
    written = write_inputs(STUDY, folder / "inputs", np.random.default_rng(3))
    return replace(written, analyses=analyses(STUDY, folder, list(written.comparisons)))


@pytest.fixture(scope="module")
def tables(inputs: Measured) -> Tables:
    return build_tables(STUDY, inputs)


def sentence(tables: Tables, finding: str) -> str:
    (found,) = [each for each in findings(STUDY, tables) if each.id == finding]
    return f"{found.sentence} {found.numbers}"


def test_what_moves_an_estimator_by_more_than_alignment_is_said_with_its_size(tables: Tables) -> None:
    effect = tables["confounds"].set_index(["variant", "estimator"]).loc[("right_unmasked", "hellinger")]
    assert 0.004 < effect["alignment_effect"] < 0.2  # 0.03 but for noise
    said = sentence(tables, "confound:hellinger")
    assert "1 of 3 variants of the extraction move it by more than alignment does" in said
    times = 0.2 / effect["alignment_effect"]
    assert f"right unmasked (averaging) by 0.2000 ({times:.1f} times)" in said
    assert "of the others chat (template) moves it most, by 0.0040" in said
    assert "over up to 4 models" in said


def test_the_control_of_padding_states_its_tolerance(tables: Tables, inputs: Measured, tmp_path: Path) -> None:
    assert "kept in all rows." in sentence(tables, "check:padding")
    assert "; 0.0001 in right; " in sentence(tables, "check:padding")
    failing = build_tables(STUDY, replace(inputs, analyses=analyses(STUDY, tmp_path, [], right=0.01)))
    (control,) = [each for each in findings(STUDY, failing) if each.id == "check:padding"]
    assert control.headline
    assert "exceeded in 2 of 2 rows" in control.sentence


def test_a_templated_model_against_a_raw_base_is_flagged(tables: Tables) -> None:
    assert not [each for each in findings(STUDY, tables) if each.id.startswith("confounded:")]
    models = tables["models"].copy()
    models.loc[models["model"] == "multi_head-sft", "template"] = "chat"
    (flag,) = [each for each in findings(STUDY, {**tables, "models": models}) if each.id.startswith("confounded:")]
    assert flag.id == "confounded:multi_head-sft:template"
    assert flag.headline
    assert "with template chat, its base multi head with raw" in flag.sentence
    assert flag.numbers == "the template alone (chat) moves the Hellinger distance between heads by 0.0040 on average"


def test_a_model_with_another_first_token_than_its_base_is_flagged(tables: Tables) -> None:
    models = tables["models"].copy()
    models.loc[models["model"] == "multi_head-sft", "first_token"] = "bos"
    (flag,) = [each for each in findings(STUDY, {**tables, "models": models}) if each.id.startswith("confounded:")]
    assert flag.id == "confounded:multi_head-sft:first_token"
    assert "with first token bos, its base multi head with tokenizer" in flag.sentence


def test_a_sign_that_turns_although_both_models_are_measured_alike_is_said(tables: Tables) -> None:
    assert "has another sign than under the reference in 0 of 3 variants." in sentence(tables, "turned:hellinger")
    confounds = tables["confounds"].copy()
    confounds.loc[confounds["variant"] == "chat", "alignment_effect_under_variant"] = -0.5
    said = sentence({**tables, "confounds": confounds}, "turned:hellinger")
    assert "has another sign than under the reference in 1 of 3 variants. over 2 pairs; chat (template)" in said
    assert said.endswith(", +0.2000 → −0.5000")


@pytest.mark.slow
def test_page_results_and_figure_show_it(inputs: Measured, tmp_path: Path) -> None:
    aggregate(STUDY, inputs, tables=tmp_path / "tables", results=tmp_path / "results.json")
    draw_figures(STUDY, tables=tmp_path / "tables", folder=tmp_path / "figures")
    paths = {"results": tmp_path / "results.json", "figures": tmp_path / "figures", "page": tmp_path / "report.html"}
    write_page(STUDY, tables=tmp_path / "tables", **paths)
    page = paths["page"].read_text(encoding="utf-8")
    section = page[page.index('<h3 id="variants">') : page.index('<h3 id="models">')]
    for shown in ("right unmasked (averaging)", "own extraction", 'data-name="confounds"', "−0.2000", "1e−06"):
        assert shown in section
    assert len(read_json(paths["results"])["confounds"]) == len(VARIANTS) * 2


def test_a_study_without_variants_has_no_such_section(inputs: Measured) -> None:
    empty = build_tables(STUDY, replace(inputs, analyses=[]))
    assert empty["variants"].empty
    assert empty["confounds"].empty
    assert list(findings(STUDY, empty)) == []
    assert list(passages(STUDY, empty)) == []
    assert [chart.draw(STUDY, empty) for chart in charts(STUDY)] == [None]


def test_small_differences_keep_their_size() -> None:
    assert [small(value) for value in (None, 0.0, 3e-7, -3e-7, 0.0123, -0.2)] == [
        "–",
        "0",
        "3e−07",
        "−3e−07",
        "+0.0123",
        "−0.2000",
    ]


def test_a_ratio_to_a_change_that_cannot_be_told_from_0_has_no_bounds(inputs: Measured, tmp_path: Path) -> None:
    wide = []
    for path in inputs.comparisons:
        metadata = {key: value for key, value in read_metadata(path).items() if key != "versions"}
        wide.append(tmp_path / path.name)
        write_table(read_table(path).assign(ci_low=-0.2, ci_high=0.2), wide[-1], metadata)
    untold = build_tables(STUDY, replace(inputs, analyses=analyses(STUDY, tmp_path, wide)))
    said = sentence(untold, "confound:hellinger")
    assert "on average, which cannot be told from 0, so that ratios to it have no bounds" in said
    assert "times" not in said
    for each, expected in ((untold, True), (build_tables(STUDY, inputs), False)):
        (first, *_) = passages(STUDY, each)
        (view, _), *_ = first.views
        ratios = {row[view.head.index("Mean size over that")] for row in view.rows if row[0].startswith("Hellinger")}
        assert (ratios == {"unbounded"}) == expected


def test_a_sign_that_differs_by_rounding_alone_has_not_turned(tables: Tables) -> None:
    confounds = tables["confounds"].copy()
    confounds.loc[confounds["variant"] == "chat", "alignment_effect_under_variant"] = -1e-15
    said = sentence({**tables, "confounds": confounds}, "turned:hellinger")
    assert "has another sign than under the reference in 0 of 3 variants" in said
