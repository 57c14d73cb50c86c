"""DAGs of the default and the controlled study: rules, edges and job counts, and what Snakemake's users inspect."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from dry_run import job_counts, most_memory

from headwise.analyses.recursion.settings import Recursion
from headwise.analyses.stability.settings import refit_groups
from headwise.analyses.variants.settings import measured_with_variants
from headwise.planning.estimate import estimate
from headwise.planning.plan import Plan
from headwise.planning.rates import RATES
from headwise.study.parse import load_study

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """An empty working folder that holds what the default study reads from the checkout."""
    folder = tmp_path_factory.mktemp("default")
    for name in ("config", "prompts"):
        (folder / name).symlink_to(root / name)
    return folder


CONTROLLED = ("--configfile", "config/studies/controlled.yaml")


def test_the_default_study_measures_what_its_questions_need(checkout: Path, snakemake: Run) -> None:
    counts = job_counts(snakemake(checkout, "-n").stdout)
    assert {rule: counts[rule] for rule in ("train_model", "align_model", "perturb_model", "probe_refits")} == {
        "train_model": 10,
        "align_model": 20,
        "perturb_model": 10,
        "probe_refits": 2,
    }
    assert {"measure_effects", "answer_questions", "measure_working_heads"} <= set(counts)
    assert not {"measure_variants", "recurse_model", "calibrate"} & set(counts)


def test_job_counts_follow_from_models_and_seeds(checkout: Path, root: Path, snakemake: Run) -> None:
    study = load_study(root / CONTROLLED[1])
    bases = sum(len(study.seeds_of(model)) for model in study.bases())
    aligned = sum(len(study.seeds_of(model)) for model in study.descendants())
    assert (bases, aligned) == (6 * 8, (6 * 4 + 8) * 8)
    assert job_counts(snakemake(checkout, "-n", *CONTROLLED).stdout) == {
        "verify_prompts": 1,
        "build_corpus": 1,
        "train_tokenizer": 1,
        "check_lengths": 1,
        "train_model": bases,
        "align_model": aligned,
        "extract_attention": bases + aligned,
        "evaluate_specialization": bases + aligned,
        "perturb_model": bases,
        "summarize_perturbations": 1,
        "recurse_model": len(study.section(Recursion).arms) * len(study.seeds),
        "summarize_recursion": 1,
        "compare_pair": len(study.descendants()),
        "contrast_models": 1,
        "summarize_specialization": 1,
        "measure_variants": len(measured_with_variants(study)),
        "gather_variants": 1,
        "probe_refits": len(refit_groups(study)),
        "compare_refits": len(refit_groups(study)),
        "summarize_stability": 1,
        "measure_dose": bases // len(study.seeds),
        "gather_doses": 1,
        "measure_effects": 1,
        "answer_questions": 1,
        "declare": 1,
        "check_declaration": 1,
        "run_controls": 1,
        "measure_working_heads": 1,
        "analyse_factors": 1,
        "aggregate": 1,
        "draw_figures": 1,
        "write_report": 1,
        "all": 1,
    }


def test_headwise_cost_counts_jobs_as_a_dry_run_does(
    checkout: Path, root: Path, snakemake: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    rows = estimate(Plan(["config/config.yaml"]), RATES)
    planned = snakemake(checkout, "-n").stdout
    assert {row.rule: row.jobs for row in rows} == job_counts(planned)
    assert {row.rule: row.memory_mb for row in rows if row.memory_mb} == most_memory(planned)


def test_a_dry_run_prints_one_file_of_code_per_job(checkout: Path, snakemake: Run) -> None:
    lines = [line for line in snakemake(checkout, "-n").stdout.splitlines() if line.startswith("    input: ")]
    code = [re.findall(r"[^ ,]+\.(?:py|sha256)\b", line) for line in lines]
    assert {len(files) for files in code} == {0, 1}
    assert sum(map(len, code)) > 100
    record = (checkout / ".snakemake/headwise/default/write_report.py/library.sha256").read_text()
    assert {"scripts/write_report.py", "headwise/report/page.py"} < {line.split()[1] for line in record.splitlines()}


def test_data_flow_from_rule_to_rule(checkout: Path, snakemake: Run) -> None:
    graph = snakemake(checkout, "--rulegraph", "dot", *CONTROLLED).stdout
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', graph))
    edges = {(names[source], names[target]) for source, target in re.findall(r"(\d+) -> (\d+)", graph)}
    for edge in [
        ("verify_prompts", "extract_attention"),
        ("train_tokenizer", "check_lengths"),
        ("train_tokenizer", "train_model"),
        ("check_lengths", "train_model"),
        ("train_model", "align_model"),
        ("train_model", "extract_attention"),
        ("align_model", "extract_attention"),
        ("extract_attention", "evaluate_specialization"),
        ("evaluate_specialization", "compare_pair"),
        ("compare_pair", "contrast_models"),
        ("contrast_models", "summarize_specialization"),
        ("check_declaration", "summarize_specialization"),
        ("summarize_specialization", "measure_effects"),
        ("measure_effects", "answer_questions"),
        ("answer_questions", "aggregate"),
        ("declare", "extract_attention"),
        ("evaluate_specialization", "run_controls"),
        ("verify_prompts", "measure_variants"),
        ("align_model", "measure_variants"),
        ("measure_variants", "gather_variants"),
        ("compare_pair", "gather_variants"),
        ("gather_variants", "aggregate"),
        ("train_model", "probe_refits"),
        ("extract_attention", "compare_refits"),
        ("compare_refits", "summarize_stability"),
        ("summarize_stability", "aggregate"),
        ("align_model", "perturb_model"),
        ("align_model", "recurse_model"),
        ("summarize_perturbations", "aggregate"),
        ("summarize_recursion", "aggregate"),
        ("aggregate", "write_report"),
    ]:
        assert edge in edges


def test_an_aligned_refit_starts_from_the_base_refit_of_the_same_seed(checkout: Path, snakemake: Run) -> None:
    target = "results/default/models/grouped_query-dpo/seed2/"
    plan = snakemake(checkout, "-n", target).stdout
    assert job_counts(plan)["train_model"] == 1
    assert re.search(r"rule align_model:\s+input: results/default/models/grouped_query/seed2,", plan)


@pytest.mark.parametrize(
    "arguments",
    [["--dag", "dot"], ["--rulegraph", "mermaid-js"], ["--summary"], ["--list-rules"]],
    ids=lambda arguments: arguments[0],
)
def test_inspection_commands_work(checkout: Path, snakemake: Run, arguments: list[str]) -> None:
    assert "extract_attention" in snakemake(checkout, *arguments).stdout


def test_lint_is_clean(checkout: Path, snakemake: Run) -> None:
    linted = snakemake(checkout, "--lint")
    assert "Congratulations" in linted.stdout + linted.stderr


def test_planning_a_study_imports_neither_torch_nor_pandas(
    checkout: Path, snakemake: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Snakemake's plugin for Slurm imports pandas by itself.
    command = [sys.executable, "-c", "import snakemake.cli, sys; print(*sys.modules)"]
    of_snakemake = subprocess.check_output(command, text=True).split()
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    imported = re.findall(r"import time:.*\|\s*([\w.]+)$", snakemake(checkout, "-n").stderr, re.MULTILINE)
    assert "headwise.study" in imported
    assert not ({"torch", "transformers", "pandas", "scipy"} & set(imported)) - set(of_snakemake)
    light = (
        "import headwise.planning.plan, headwise.analyses.noise.needs, headwise.study.merging, sys; print(*sys.modules)"
    )
    assert "pandas" not in subprocess.check_output([sys.executable, "-c", light], text=True).split()


def test_config_on_the_command_line_changes_the_study(checkout: Path, snakemake: Run) -> None:
    plan = snakemake(checkout, "-n", "--config", "name=other", "seeds=[7]", "questions=[]").stdout
    assert "results/other/models/multi_head/seed7" in plan
    assert job_counts(plan)["train_model"] == 2


def test_a_study_given_with_configfile_stands_alone(tmp_path: Path, snakemake: Run) -> None:
    from tiny import write_study

    plan = snakemake(tmp_path, "-n", "--configfile", write_study(tmp_path)).stdout
    assert "multi_query" not in plan
    assert job_counts(plan)["train_model"] == 3
    assert "measure_variants" not in plan
