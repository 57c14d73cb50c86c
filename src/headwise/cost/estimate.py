"""What a study costs before anything runs: jobs, hours, memory and disk, rule by rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headwise.cost.disk import bytes_left
from headwise.cost.jobs import STAGE_OF, planned_jobs
from headwise.cost.memory import request
from headwise.cost.plan import Plan
from headwise.cost.rates import SNAKEMAKE_SECONDS, job_seconds
from headwise.cost.work import counted_seconds


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
