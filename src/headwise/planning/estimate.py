"""What a study costs before anything runs: jobs, hours, memory and disk, rule by rule."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from headwise.planning.disk import bytes_left
from headwise.planning.plan import Plan
from headwise.planning.rates import SNAKEMAKE_SECONDS, job_seconds
from headwise.runtime.cluster import Cluster, amounts

# Rules that run side by side in the jobs of a cluster which end with the tokenizer, and with the report
# (slurm/config.yaml); tests compare. What follows them there asks for no more.
INPUTS = ("declare", "verify_prompts", "build_corpus")
GATHERING = (
    "check_declaration",
    "compute_released",
    "run_controls",
    "gather_variants",
    "summarize_perturbations",
    "summarize_recursion",
    "summarize_stability",
    "contrast_models",
    "analyse_factors",
    "gather_doses",
)


@dataclass
class Row:
    """What the jobs of one rule take.

    jobs             as Snakemake's dry run counts them
    processor_hours  of jobs without a GPU, one core each; None where nothing is known of the rule's work
    gpu_hours        of jobs with GPUs, each counted; None likewise
    memory_mb        the most that one job asks for, at its first attempt
    disk_mb          what all of them leave, downloads into the cache of the hub included
    """

    stage: str
    rule: str
    jobs: int = 0
    processor_hours: float | None = 0.0
    gpu_hours: float | None = 0.0
    memory_mb: int = 0
    disk_mb: float = 0.0


def estimate(plan: Plan, rates: Mapping[str, float]) -> list[Row]:
    """One row per rule that has jobs, in the order of the rules' files."""
    rows: dict[str, Row] = {}
    for jobs in plan.jobs:
        row = rows.setdefault(jobs.rule, Row(jobs.stage, jobs.rule))
        seconds = job_seconds(plan, jobs, rates)
        if seconds is None or row.processor_hours is None or row.gpu_hours is None:
            row.processor_hours = row.gpu_hours = None
        elif jobs.needs.gpus:
            row.gpu_hours += jobs.count * seconds / 3600 * jobs.needs.gpus
        else:
            row.processor_hours += jobs.count * seconds / 3600
        row.jobs += jobs.count
        row.memory_mb = max(row.memory_mb, jobs.needs.memory_mb)
        row.disk_mb += jobs.count * bytes_left(plan, jobs) / 1e6
    return list(rows.values())


def total(rows: Sequence[Row]) -> Row:
    """All rules together, with what Snakemake itself takes to start each job; time that is not known is left out."""
    jobs = sum(row.jobs for row in rows)
    return Row(
        stage="",
        rule="total",
        jobs=jobs,
        processor_hours=sum(row.processor_hours or 0 for row in rows) + jobs * SNAKEMAKE_SECONDS / 3600,
        gpu_hours=sum(row.gpu_hours or 0 for row in rows),
        memory_mb=max(row.memory_mb for row in rows),
        disk_mb=sum(row.disk_mb for row in rows),
    )


def shared(plan: Plan, cluster: Cluster) -> dict[str, int]:
    """Short jobs that share one of a cluster, in words, and the MB that it asks for at its first attempt at most:
    the sum of those that run side by side."""
    evaluations = _memory_asked(plan, ["evaluate_specialization"])
    together = min(len(evaluations), cluster.evaluations_together)
    asked = {f"{together} of {len(evaluations)} evaluations": evaluations[:together]}
    if cluster.inputs_together:
        asked["prompts, corpus and tokenizer"] = _memory_asked(plan, INPUTS)
    if cluster.report_together:
        asked["all that gathers results, up to the report"] = _memory_asked(plan, GATHERING)
    cores, most = cluster.group_cores, cluster.most_memory_mb
    return {what: min(most, sum(sorted(asked_mb)[-cores:])) for what, asked_mb in asked.items()}


def misfits(plan: Plan, cluster: Cluster) -> list[str]:
    """For each rule, and model, whose jobs no partition has room for: what they ask for. A download is no job there."""
    found = []
    for jobs in plan.jobs:
        asked = (jobs.needs.memory_mb, jobs.needs.minutes, jobs.needs.gpus if cluster.gpus else 0)
        if jobs.rule != "fetch_model" and not cluster.has_room(*asked):
            found.append(f"{jobs.rule} {jobs.subject}".rstrip() + f": {amounts(*asked)}")
    return found


def _memory_asked(plan: Plan, rules: Collection[str]) -> list[int]:
    """MB that each job of these rules asks for."""
    return [jobs.needs.memory_mb for jobs in plan.jobs if jobs.rule in rules for _ in jobs.seeds]
