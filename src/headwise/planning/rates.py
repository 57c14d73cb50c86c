"""How the counted seconds of jobs compare with measured ones: rates that ship, and those of a finished run."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headwise.planning.jobs import Jobs
from headwise.planning.plan import Plan
from headwise.planning.work import counted_seconds, is_counted

# Processor seconds in which a job imports torch and transformers and reads its model; and those of Snakemake itself for
# a job on one machine. On a cluster it starts anew in each.
STARTING_SECONDS = 6.0
SNAKEMAKE_SECONDS = 0.5
# Of rules whose work is counted: measured seconds over those and the ones to start; of the others: seconds of a job.
# Measured on benchmarks/pilot.yaml, beside other work, by benchmarks/rates.py; not for downloads and conversion.
RATES = {
    "verify_prompts": 0.43,
    "build_corpus": 0.42,
    "build_grammar": 0.49,
    "train_tokenizer": 0.22,
    "check_lengths": 0.9,
    "train_model": 0.99,
    "align_model": 1.1,
    "fetch_model": 1,
    "convert_model": 1,
    "extract_attention": 1.1,
    "evaluate_specialization": 1,
    "compare_pair": 2,
    "contrast_models": 0.92,
    "summarize_specialization": 1.5,
    "measure_effects": 1.5,
    "measure_placebos": 5.0,
    "answer_questions": 1.6,
    "analyse_factors": 1.4,
    "measure_variants": 1.5,
    "gather_variants": 0.98,
    "declare": 0.52,
    "check_declaration": 0.83,
    "compute_released": 3,
    "run_controls": 9.3,
    "measure_working_heads": 1,
    "probe_refits": 1.3,
    "compare_refits": 0.45,
    "summarize_stability": 5,
    "perturb_model": 1.2,
    "summarize_perturbations": 2.4,
    "recurse_model": 1.3,
    "summarize_recursion": 2.7,
    "aggregate": 3.9,
    "draw_figures": 18,
    "write_report": 5.8,
}
# Snakemake looks at a job every half second at first, and then twice a minute.
OFTEN_SECONDS, SELDOM_SECONDS = 15.5, 30.0


class MeasuredError(ValueError):
    """A finished run cannot be read."""


def job_seconds(plan: Plan, jobs: Jobs, rates: Mapping[str, float]) -> float | None:
    """Seconds of each of these jobs; None where nothing is known of the work of their rule."""
    if not jobs.runs:
        return 0.0
    return rates[jobs.rule] * _expected(plan, jobs) if jobs.rule in rates else None


def _expected(plan: Plan, jobs: Jobs) -> float:
    return STARTING_SECONDS + counted_seconds(plan, jobs) if is_counted(jobs.rule) else 1.0


def measured_rates(plan: Plan, folder: Path) -> dict[str, float]:
    """The rates of a finished run of the study, from its benchmarks; those that ship for rules that it did not run.

    folder  results/NAME. Raises MeasuredError where it holds no benchmarks, or some of another study.
    """
    measured: dict[str, list[float]] = defaultdict(list)
    expected: dict[str, list[float]] = defaultdict(list)
    known = {(jobs.rule, jobs.subject): jobs for jobs in plan.jobs}
    for rule, subject, path in benchmark_files(folder):
        jobs = known.get((rule, subject))
        if jobs is None:
            raise MeasuredError(
                f"{path}: {plan.source} has no job of rule {rule}{f' for {subject}' if subject else ''}: give the "
                "study file of that run with --measured-study"
            )
        record = read_benchmark(path)
        measured[rule].append(record["s"] if jobs.needs.gpus else processor_seconds(record))
        expected[rule].append(_expected(plan, jobs))
    return {**RATES, **{rule: sum(seconds) / sum(expected[rule]) for rule, seconds in measured.items()}}


def benchmark_files(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Rule, subject and file of each job that a run measured. Raises MeasuredError where there is none."""
    root = folder / "benchmarks"
    files = sorted(root.rglob("*.jsonl"))
    if not files:
        raise MeasuredError(f"{root}: no benchmarks of a finished run: give the folder results/NAME of one")
    for path in files:
        parts = path.relative_to(root).with_suffix("").parts
        yield parts[0], parts[1] if len(parts) > 1 else "", path


def read_benchmark(path: Path) -> dict[str, Any]:
    """The last record of a job. Raises MeasuredError, naming the file, where it is none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
        return {key: float(record[key] or 0) for key in ("s", "cpu_time", "max_rss")}
    except (ValueError, IndexError, KeyError, TypeError):
        raise MeasuredError(
            f"{path}: no benchmark of Snakemake (JSON Lines with s, cpu_time and max_rss): remove it"
        ) from None


def processor_seconds(record: Mapping[str, float]) -> float:
    """Processor time of a job with one thread: after Snakemake's last look, it goes on as before."""
    elapsed = record["s"]
    looks = max(0, (elapsed - OFTEN_SECONDS) // SELDOM_SECONDS)
    last = elapsed if elapsed <= OFTEN_SECONDS else OFTEN_SECONDS + SELDOM_SECONDS * looks
    return min(elapsed, record["cpu_time"] * elapsed / last) if record["cpu_time"] else elapsed
