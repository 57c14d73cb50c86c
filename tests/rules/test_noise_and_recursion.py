"""Rules perturb_model, summarize_perturbations, recurse_model and summarize_recursion, and their part of the report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from tiny import tiny_content

from headwise.analyses.noise.bases import probed_descendants
from headwise.analyses.noise.jobs import TABLES as NOISE_TABLES
from headwise.analyses.noise.jobs import perturbation_arguments, response_arguments
from headwise.analyses.noise.report.part import PART as NOISE
from headwise.analyses.noise.rows import Heads
from headwise.analyses.recursion.jobs import TABLES as RECURSION_TABLES
from headwise.analyses.recursion.jobs import chain_arguments, survival_arguments
from headwise.analyses.recursion.report.part import PART as RECURSION
from headwise.analyses.recursion.settings import Recursion
from headwise.report.figures import specification
from headwise.report.parts import TABLES
from headwise.report.tables import analysis_table
from headwise.runtime.parquet import read_metadata
from headwise.study.study import Study, study_model
from headwise.tables.frame import typed_columns
from rules.conftest import Measurement, RunScript

SECTIONS = {
    "noise": {
        "duplicate": ["grouped_query"],
        "absolute": [0.1, 0.5],
        "relative": [0.5],
        "draws": 2,
        "excerpts": 2,
        "tokens": 16,
        "specialization": {"sites": ["attention_output"], "regions": ["all", "late"], "prompts": 2},
        "generated_text": {"prompts": 2, "new_tokens": 3, "sigmas": [0.0, 0.5]},
    },
    "probe": {"sigma": 0.1, "prompts": 2},
    "recursion": {
        "arms": [
            {"name": "base", "model": "multi_head", "mode": "continue"},
            {"name": "asked", "model": "multi_head-sft", "mode": "rewrite", "instruction": "Copy:"},
        ],
        "generations": 4,
        "prompts": 3,
        "new_tokens": 8,
        "context": 8,
    },
}
PARTS = (NOISE, RECURSION)
PERTURBED = ("losses", "specialization", "generated", "duplication")
REFITS = (("multi_head", 1), ("multi_head", 2), ("grouped_query", 1))

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Experiments:
    """The study with noise, probe and recursion, the files of each refit by table, and the tables of the report."""

    study: Study
    refits: dict[tuple[str, int], dict[str, Path]]
    tables: dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def perturbed_study() -> Study:
    return study_model()(**tiny_content(), **SECTIONS)


@pytest.fixture(scope="module")
def perturb(
    tmp_path_factory: pytest.TempPathFactory,
    perturbed_study: Study,
    measure: Callable[[str, int], Measurement],
    documents: Path,
    prompts: tuple[Path, Path],
    run_script: RunScript,
) -> Callable[[str, int, str], dict[str, Path]]:
    """Run the rule perturb_model into a fresh folder."""

    def run(model: str, seed: int, place: str) -> dict[str, Path]:
        folder = tmp_path_factory.mktemp(place)
        output = {name: folder / f"{name}.parquet" for name in PERTURBED}
        aligned = probed_descendants(perturbed_study, model, seed)
        run_script(
            "perturb_model",
            input={
                "base": measure(model, seed).checkpoint,
                "aligned": [measure(each.name, seed).checkpoint for each in aligned],
                "documents": documents,
                "prompts": prompts[0],
                "facts": prompts[1],
            },
            output=output,
            arguments=perturbation_arguments(perturbed_study, model, seed),
            wildcards={"model": model, "seed": str(seed)},
        )
        return output

    return run


@pytest.fixture(scope="module")
def experiments(
    tmp_path_factory: pytest.TempPathFactory,
    perturbed_study: Study,
    perturb: Callable[[str, int, str], dict[str, Path]],
    measure: Callable[[str, int], Measurement],
    prompts: tuple[Path, Path],
    run_script: RunScript,
) -> Experiments:
    """All experiments, and the tables that the report reads."""
    study, folder = perturbed_study, tmp_path_factory.mktemp("experiments")
    refits = {refit: perturb(*refit, f"{refit[0]}-{refit[1]}") for refit in REFITS}
    analyses = {name: folder / "analyses" / f"{name}.parquet" for name in (*NOISE_TABLES, *RECURSION_TABLES)}
    run_script(
        "summarize_perturbations",
        input={name: [files[name] for files in refits.values()] for name in PERTURBED},
        output={name: analyses[name] for name in NOISE_TABLES},
        arguments=response_arguments(study),
    )
    chains: dict[str, list[Path]] = {"generations": [], "specialization": []}
    for arm in study.section(Recursion).arms:
        for seed in (1, 2):
            place = folder / "recursion" / arm.name / f"seed{seed}"
            output = {name: place / f"{name}.parquet" for name in chains}
            run_script(
                "recurse_model",
                input={"checkpoint": measure(arm.model, seed).checkpoint, "prompts": prompts[0], "facts": prompts[1]},
                output=output,
                arguments=chain_arguments(study, arm.name, seed) | {"state": str(place / "unfinished")},
                wildcards={"arm": arm.name, "seed": str(seed)},
            )
            assert not (place / "unfinished").exists()
            for name, path in output.items():
                chains[name].append(path)
    run_script(
        "summarize_recursion",
        input=chains,
        output={name: analyses[name] for name in RECURSION_TABLES},
        arguments=survival_arguments(study),
    )
    tables = {name: typed_columns(name, TABLES[name], analysis_table(study, path)) for name, path in analyses.items()}
    return Experiments(study, refits, tables)


def test_a_refit_is_measured_alike_twice(experiments, perturb):
    again = perturb("grouped_query", 1, "again")
    for name, path in again.items():
        assert path.read_bytes() == experiments.refits["grouped_query", 1][name].read_bytes(), name


def test_losses_cover_every_dose_and_draw_of_the_model_and_its_twin(experiments):
    losses = pd.read_parquet(experiments.refits["grouped_query", 1]["losses"])
    assert len(losses) == 2 * 3 * 3 * 2  # heads × sites × doses × draws
    assert losses["nll_nats"].notna().all()
    twin, made = (losses[losses["heads"] == heads].reset_index() for heads in (Heads.DUPLICATED, Heads.AS_MADE))
    assert (twin["delta_nll_nats"] - made["delta_nll_nats"]).abs().max() < 1e-5
    metadata = read_metadata(experiments.refits["multi_head", 1]["losses"])
    assert set(metadata["weights_digests"]) == {"multi_head", "multi_head-sft", "multi_head-dpo"}


def test_duplicated_heads_change_nothing_but_rounding(experiments):
    (row,) = experiments.tables["key_value_duplication"].to_dict("records")
    assert row["largest_relative_logit_difference"] < 1e-5
    assert row["largest_attention_difference"] < 1e-5
    assert row["largest_delta_nll_difference"] < 1e-5
    assert row["largest_specialization_difference"] < 1e-5
    assert row["perplexity_ratio"] == pytest.approx(1, abs=1e-5)
    contrasts = experiments.tables["noise_contrasts"]
    own = contrasts[contrasts["kind"] == "duplication"]
    assert len(own) == 3 * 2
    assert own["ratio_of_means"].sub(1).abs().max() < 1e-3


def test_response_is_the_mean_over_draws_and_refits(experiments):
    response = experiments.tables["noise_response"]
    row = response[response["model"].eq("multi_head") & response["site"].eq("residual") & response["sigma"].eq(0.1)]
    by_refit = []
    for seed in (1, 2):
        losses = pd.read_parquet(experiments.refits["multi_head", seed]["losses"])
        own = losses[losses["site"].eq("residual") & losses["sigma"].eq(0.1)]
        by_refit.append(own["delta_nll_nats"].mean())
    assert row["delta_nll_nats"].item() == pytest.approx(sum(by_refit) / 2)
    assert (row["n"].item(), row["unit"].item()) == (2, "refit")
    # One seed: its draws are what varies.
    alone = response[response["model"].eq("grouped_query")]
    assert set(alone["unit"]) == {"draw"}
    assert set(alone["n"]) == {2}


def test_the_probe_judges_base_and_descendant(experiments):
    probe = experiments.tables["probe"]
    assert set(probe["model"]) == {"multi_head", "multi_head-sft", "multi_head-dpo", "grouped_query"}
    assert set(probe.loc[probe["model"].eq("multi_head-sft"), "base"]) == {"multi_head"}
    assert probe["reading"].notna().sum() == probe["change_percent"].notna().sum()
    areas = experiments.tables["probe_discrimination"]
    assert len(areas) == 2 * probe["estimator"].nunique()


def test_chains_are_followed_to_the_last_possible_onset(experiments):
    curves = experiments.tables["recursion_survival"]
    assert set(curves["arm"]) == {"base", "asked"}
    pooled = curves[curves["seed"].isna()]
    assert set(pooled["chains"]) == {6}
    assert (curves.groupby(["arm", "seed"], dropna=False)["generation"].max() == 2).all()
    durations = experiments.tables["recursion_durations"]
    assert durations["horizon"].eq(2).all()
    assert durations.loc[durations["arm"].eq("asked") & durations["seed"].isna(), "reference"].item() == "base"
    generations = experiments.tables["recursion_generations"]
    assert len(generations) == 2 * 2 * 4


def test_the_report_draws_and_says_what_was_found(experiments):
    tables = {**experiments.tables, "models": pd.DataFrame({"model": ["multi_head"], "attention": ["multi-head"]})}
    charts = [chart for part in PARTS for chart in part.charts(experiments.study)]
    drawn = {chart.name: chart.draw(experiments.study, tables) for chart in charts}
    assert all(specification(chart) for chart in drawn.values())
    found = {finding.id: finding for part in PARTS for finding in part.findings(experiments.study, tables)}
    assert {"noise:grouped_query", "noise:duplication", "recursion:base"} <= set(found)
    assert "says nothing about what sharing keys and values does" in found["noise:duplication"].numbers
    headings = [passage.heading for part in PARTS for passage in part.passages(experiments.study, tables)]
    assert len(headings) == 4


def test_a_study_without_the_sections_has_no_trace_of_it(experiments):
    empty = {name: typed_columns(name, TABLES[name], pd.DataFrame()) for name in (*NOISE_TABLES, *RECURSION_TABLES)}
    empty["models"] = pd.DataFrame({"model": ["multi_head"], "attention": ["multi-head"]})
    for part in PARTS:
        assert not any(chart.draw(experiments.study, empty) for chart in part.charts(experiments.study))
        assert not list(part.findings(experiments.study, empty))
        assert not list(part.passages(experiments.study, empty))
