"""How long the jobs of a run take that is about to start: costs of the study, for those of its jobs that are left."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from logging import Logger
from typing import TYPE_CHECKING

from headwise.planning.jobs import described
from headwise.planning.plan import Plan
from headwise.planning.rates import RATES, SNAKEMAKE_SECONDS, job_seconds
from headwise.runtime.run_log import Expected, counted, duration
from headwise.study.study import Study

if TYPE_CHECKING:
    from snakemake.workflow import Workflow


class RunningPlan(Plan):
    """A study that Snakemake has read, checked and planned."""

    def __init__(self, study: Study) -> None:
        vars(self).update(study_files=(), changes=(), study=study)  # in place of what files would say


def expected_jobs(study: Study, workflow: "Workflow") -> dict[int, Expected]:
    """What is expected of each job that Snakemake is going to run, by its number."""
    plan, dag = RunningPlan(study), workflow.dag
    seconds = cache(lambda jobs: (job_seconds(plan, jobs, RATES) or 0.0) + (SNAKEMAKE_SECONDS if jobs.runs else 0.0))
    jobs = {dag.jobid(job): described(job) for job in dag.needrun_jobs()}
    return {number: Expected(job.stage, seconds(replace(job, seeds=(0,)))) for number, job in jobs.items()}


def announce(study: Study, workflow: "Workflow", log: Logger) -> None:
    """Say how many jobs there are and about how long they take, and tell the log what is expected of each."""
    expected = expected_jobs(study, workflow)
    cores = workflow.cores if workflow.local_exec else 0
    log.info(announcement(expected, cores), extra={"expected_jobs": expected, "cores": cores})


def announcement(expected: Mapping[int, Expected], cores: int) -> str:
    """How many jobs there are, and about how long they take."""
    seconds = sum(job.seconds for job in expected.values())
    jobs = counted(sum(job.seconds > 0 for job in expected.values()), "job")
    if not cores:
        return f"{jobs}, about {duration(seconds)} of one core or GPU in all"
    longest = max((job.seconds for job in expected.values()), default=0.0)
    return f"{jobs}, about {duration(max(seconds / cores, longest))} on {counted(cores, 'core')}"
