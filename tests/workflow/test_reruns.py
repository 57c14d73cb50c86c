"""What runs again, and what does not: on a copy of the checkout and of a finished tiny study."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
import yaml
from project import Project, digests

pytestmark = pytest.mark.slow


ESTIMATORS = ["hellinger", "js_divergence", "pattern_correlation", "entropy_profile", "normalized_entropy"]


def tiny_project(folder: Path, **changes: object) -> Project:
    """A tiny study without the estimator that reads outputs of heads."""
    return Project(folder, specialization={"head_permutations": 20, "estimators": ESTIMATORS}, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny study that has run to its end."""
    project = tiny_project(tmp_path_factory.mktemp("finished") / "project")
    project.run("--cores", "2")
    return project


@pytest.fixture
def project(finished: Project) -> Project:
    """The finished study; its source and study file are put back afterwards."""
    kept = {path: path.read_bytes() for path in [finished.study, *(finished.folder / "src").rglob("*.py")]}
    yield finished
    for path, content in kept.items():
        if path.read_bytes() != content:
            path.write_bytes(content)


def test_a_finished_study_has_nothing_to_do(project: Project) -> None:
    assert "Nothing to be done" in project.run("--cores", "2")


def test_a_run_says_how_long_it_takes_what_it_does_and_where_the_page_is(project: Project) -> None:
    lines = project.run("--cores", "2", "--forcerun", "write_report").splitlines()
    assert re.fullmatch(r"1 job, about \d+ s on 2 cores", lines[2])
    assert re.fullmatch(r"1 of 1  report: write_report  \d+ s", lines[3])
    assert lines[4] == "The study asks no questions."
    assert re.fullmatch(r"results/tiny/report\.html has the rest; it took \d+ s\.", lines[5])
    assert len(lines) == 6


def test_a_touch_of_source_files_reruns_nothing(project: Project) -> None:
    for folder in ("src", "scripts"):
        for path in (project.folder / folder).rglob("*.py"):
            path.touch()
    assert project.planned() == set()


def test_an_edited_estimator_reruns_its_rule_and_what_follows(project: Project) -> None:
    module = project.folder / "src/headwise/analyses/specialization/estimators/hellinger.py"
    module.write_text(module.read_text() + "\n# edited\n")
    assert project.planned() == {
        "evaluate_specialization",
        "run_controls",
        "compare_pair",
        "contrast_models",
        "summarize_specialization",
        "analyse_factors",
        "aggregate",
        "draw_figures",
        "write_report",
    }


def test_an_edited_report_reruns_the_report_alone(project: Project) -> None:
    module = project.folder / "src/headwise/report/page.py"
    module.write_text(module.read_text() + "\n# edited\n")
    assert project.planned() == {"write_report"}


def test_a_changed_value_reruns_what_depends_on_it(project: Project) -> None:
    project.change_study("comparison", resamples=299)
    assert project.planned() == {
        "check_declaration",
        "run_controls",
        "compare_pair",
        "contrast_models",
        "summarize_specialization",
        "analyse_factors",
        "aggregate",
        "draw_figures",
        "write_report",
    }


def test_only_a_new_statistic_of_pairs_of_heads_is_a_reason_to_measure_again(project: Project) -> None:
    for kept in (ESTIMATORS[:1], ESTIMATORS[:1] + ESTIMATORS[3:]):
        project.change_study("specialization", estimators=kept)
        planned = project.planned()
        assert "extract_attention" not in planned
        assert "evaluate_specialization" in planned
    project.change_study("specialization", estimators=[*ESTIMATORS, "output_cka"])
    assert {"extract_attention", "evaluate_specialization"} <= project.planned()


def test_a_new_title_computes_nothing_anew(project: Project) -> None:
    content = yaml.safe_load(project.study.read_text())
    project.study.write_text(yaml.safe_dump(content | {"title": "Another title"}, sort_keys=False))
    assert project.planned() == {"aggregate", "draw_figures", "write_report"}


def test_another_name_is_another_study(project: Project) -> None:
    content = yaml.safe_load(project.study.read_text())
    project.study.write_text(yaml.safe_dump(content | {"name": "other"}, sort_keys=False))
    assert {"train_model", "extract_attention", "run_controls", "write_report"} <= project.planned()


def test_results_of_another_name_are_refused_where_they_are_gathered(finished: Project, tmp_path: Path) -> None:
    other = tiny_project(tmp_path / "other", name="other")
    shutil.copytree(finished.folder / "results/tiny", other.folder / "results/other")
    other.run("--cores", "1", "--touch")
    command = other.command("--cores", "1", "--forcerun", "aggregate")
    done = subprocess.run(command, cwd=other.folder, env=other.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "belongs to study 'tiny', not to 'other'" in done.stdout + done.stderr


def test_results_are_taken_to_another_checkout_with_their_records(finished: Project, tmp_path: Path) -> None:
    other = tiny_project(tmp_path / "other")
    for folder in ("results", ".snakemake"):
        shutil.copytree(finished.folder / folder, other.folder / folder)
    assert other.planned() == set()


def test_a_changed_alignment_leaves_the_bases_alone(project: Project) -> None:
    project.change_study("alignment", sft={"steps": 4, "batch": 4})
    planned = project.planned()
    assert "align_model" in planned
    assert not planned & {"verify_prompts", "build_corpus", "train_tokenizer", "train_model"}
    plan = project.run("-n")
    assert not re.search(r"wildcards: model=multi_head, ", plan)


def test_snakemake_writes_its_own_report(finished: Project) -> None:
    finished.run("--report", "own.html")
    page = (finished.folder / "own.html").read_text(encoding="utf-8")
    assert "specialization.svg" in page
    assert "comparisons.csv" in page
    figures = json.loads((finished.folder / "results/tiny/figures/figures.json").read_text(encoding="utf-8"))
    for figure in figures:
        assert " ".join(figure["caption"].split()[:4]) in page, figure["name"]


def test_checkpoints_of_ones_own_are_measured_and_compared(finished: Project, tmp_path: Path) -> None:
    own = tiny_project(tmp_path / "own")
    content = yaml.safe_load(own.study.read_text())
    for name in ("multi_head", "multi_head-dpo"):
        shutil.copytree(finished.folder / f"results/tiny/models/{name}/seed1", own.folder / name)
    content["models"] = [
        {"name": "before", "source": "folder", "path": "multi_head"},
        {"name": "after", "source": "folder", "path": "multi_head-dpo", "base": "before", "method": "dpo"},
    ]
    content |= {"name": "own", "extraction": {"store": "statistics"}}
    own.study.write_text(yaml.safe_dump(content, sort_keys=False))
    own.run("--cores", "2")
    assert not (own.folder / "results/own/attention").exists()
    columns = ["seed", "estimator", "sink", "scope", "level", "base_value", "aligned_value"]
    changes = pd.read_parquet(own.folder / "results/own/tables/comparisons.parquet")[columns]
    made_here = pd.read_parquet(finished.folder / "results/tiny/specialization/multi_head-dpo/comparison.parquet")[
        columns
    ]
    chosen = [
        table[table["scope"] == "refit"].sort_values(columns).reset_index(drop=True) for table in (changes, made_here)
    ]
    pd.testing.assert_frame_equal(*chosen, check_dtype=False)


def test_new_prompts_retrain_nothing(project: Project) -> None:
    prompts = project.folder / "prompts" / "tiny.jsonl"
    kept, sums = prompts.read_bytes(), prompts.with_name("SHA256SUMS").read_text()
    try:
        prompts.write_bytes(kept.replace(b"domain1", b"domain9", 1))
        changed = sums.replace(sha256(kept).hexdigest(), sha256(prompts.read_bytes()).hexdigest())
        prompts.with_name("SHA256SUMS").write_text(changed)
        planned = project.planned()
        assert {"verify_prompts", "extract_attention"} <= planned
        assert not planned & {"build_corpus", "train_tokenizer", "train_model", "align_model"}
    finally:
        prompts.write_bytes(kept)
        prompts.with_name("SHA256SUMS").write_text(sums)


def test_two_runs_give_identical_files(finished: Project, tmp_path: Path) -> None:
    again = tiny_project(tmp_path / "again")
    again.run("--cores", "1")
    first, second = digests(finished.folder / "results/tiny"), digests(again.folder / "results/tiny")
    assert first == second
    assert {"results.json", "report.html", "tables/comparisons.parquet", "tables/comparisons.csv"} <= set(first)


@pytest.mark.parametrize("seconds", [8, 20])
def test_a_killed_run_finishes_with_the_same_files(finished: Project, tmp_path: Path, seconds: int) -> None:
    killed = tiny_project(tmp_path / "killed")
    running = subprocess.Popen(
        killed.command("--cores", "2"),
        cwd=killed.folder,
        env=killed.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (killed.folder / "results/tiny/report.html").exists()
    killed.run("--unlock")
    killed.run("--cores", "2")
    assert digests(killed.folder / "results/tiny") == digests(finished.folder / "results/tiny")
