"""What a study costs before anything runs: jobs, hours, memory and disk, rule by rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headwise.planning.disk import bytes_left
from headwise.planning.jobs import STAGE_OF, planned_jobs
from headwise.planning.memory import SAME_MB, request
from headwise.planning.plan import Plan
from headwise.planning.rates import SNAKEMAKE_SECONDS, job_seconds
from headwise.planning.work import counted_seconds
from headwise.runtime.cluster import Cluster, amounts

# Rules that run side by side in the job of a cluster which ends with the report (slurm/config.yaml); a test compares.
INPUTS = ("declare", "verify_prompts", "build_corpus", "train_tokenizer", "check_lengths")
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
)


@dataclass
class Row:
    """What the jobs of one rule take.

    jobs             as Snakemake's dry run counts them
    processor_hours  of jobs without a GPU, one core each
    gpu_hours        of jobs with GPUs, each counted
    memory_mb        the most that one job asks for, at its first attempt
    disk_mb          what all of them leave, downloads into the cache of the hub included
    """

    stage: str
    rule: str
    jobs: int = 0
    processor_hours: float = 0.0
    gpu_hours: float = 0.0
    memory_mb: int = 0
    disk_mb: float = 0.0


def estimate(plan: Plan, rates: Mapping[str, float]) -> list[Row]:
    """One row per rule that has jobs, in the order of the data."""
    rows: dict[str, Row] = {}
    for jobs in planned_jobs(plan.study):
        row = rows.setdefault(jobs.rule, Row(STAGE_OF[jobs.rule], jobs.rule))
        needs = request(plan, jobs)
        hours = jobs.count * job_seconds(rates, jobs.rule, counted_seconds(plan, jobs, needs.gpus)) / 3600
        row.jobs += jobs.count
        row.gpu_hours += hours * needs.gpus
        row.processor_hours += 0 if needs.gpus else hours
        row.memory_mb = max(row.memory_mb, needs.memory_mb)
        row.disk_mb += jobs.count * bytes_left(plan, jobs) / 1e6
    return list(rows.values())


def total(rows: Sequence[Row]) -> Row:
    """All rules together, with what Snakemake itself takes to start each job."""
    jobs = sum(row.jobs for row in rows)
    return Row(
        stage="",
        rule="total",
        jobs=jobs,
        processor_hours=sum(row.processor_hours for row in rows) + jobs * SNAKEMAKE_SECONDS / 3600,
        gpu_hours=sum(row.gpu_hours for row in rows),
        memory_mb=max(row.memory_mb for row in rows),
        disk_mb=sum(row.disk_mb for row in rows),
    )


def shared(plan: Plan, cluster: Cluster) -> dict[str, int]:
    """Short jobs that share one of a cluster, in words, and the MB that it asks for at its first attempt at most:
    the sum of those that run side by side."""
    jobs = planned_jobs(plan.study)
    evaluations = sum(each.count for each in jobs if each.rule == "evaluate_specialization")
    together = min(evaluations, cluster.evaluations_together)
    asked = {f"{together} of {evaluations} evaluations": [SAME_MB["evaluate_specialization"]] * together}
    if cluster.inputs_together:
        asked["prompts, corpus and tokenizer"] = [SAME_MB[each.rule] for each in jobs if each.rule in INPUTS]
    if cluster.report_together:
        asked["all that gathers results, up to the report"] = [
            SAME_MB[each.rule] for each in jobs if each.rule in GATHERING
        ]
    cores, most = cluster.group_cores, cluster.most_memory_mb
    return {what: min(most, sum(sorted(asked_mb)[-cores:])) for what, asked_mb in asked.items()}


def misfits(plan: Plan, cluster: Cluster) -> list[str]:
    """For each rule, and model, whose jobs no partition has room for: what they ask for. A download is no job there."""
    found = []
    for jobs in planned_jobs(plan.study):
        needs = request(plan, jobs)
        asked = (needs.memory_mb, needs.minutes, needs.gpus if cluster.gpus else 0)
        if jobs.rule != "fetch_model" and not cluster.has_room(*asked):
            found.append(f"{jobs.rule} {jobs.subject}".rstrip() + f": {amounts(*asked)}")
    return found
