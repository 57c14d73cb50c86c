"""How long the jobs of a run take that is about to start: costs of the study, for those of its jobs that are left."""

from collections.abc import Mapping
from contextlib import suppress
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
    """What is expected of each job that Snakemake is going to run, by its number.

    Jobs of which nothing can be told are left out, such as those of models that are still to be fetched and whose size
    the study does not say: no run ends because of an estimate.
    """
    plan, dag = RunningPlan(study), workflow.dag
    seconds = cache(lambda jobs: (job_seconds(plan, jobs, RATES) or 0.0) + (SNAKEMAKE_SECONDS if jobs.runs else 0.0))
    expected = {}
    for job in dag.needrun_jobs():
        with suppress(Exception):
            jobs = described(job)
            expected[dag.jobid(job)] = Expected(jobs.stage, seconds(replace(jobs, seeds=(0,))))
    return expected


def announce(study: Study, workflow: "Workflow", log: Logger) -> None:
    """Say how many jobs there are and about how long they take, and tell the log what is expected of each."""
    expected = expected_jobs(study, workflow)
    cores = workflow.cores if workflow.local_exec else 0
    rules = [job.rule for job in workflow.dag.needrun_jobs()]
    said = announcement(expected, sum(not rule.norun for rule in rules), cores)
    no_work = {rule.name for rule in rules if rule.norun}
    log.info(said, extra={"expected_jobs": expected, "cores": cores, "rules_without_work": no_work})


def announcement(expected: Mapping[int, Expected], jobs: int, cores: int) -> str:
    """How many jobs there are, and about how long those take of which it is known."""
    seconds = [job.seconds for job in expected.values() if job.seconds]
    said = counted(jobs, "job")
    if not cores:
        said += f", about {duration(sum(seconds))} of one core or GPU in all"
    else:
        said += f", about {duration(max([sum(seconds) / cores, *seconds]))} on {counted(cores, 'core')}"
    return said if len(seconds) == jobs else f"{said}, without {jobs - len(seconds)} of which nothing is known"
