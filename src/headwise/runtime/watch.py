"""What Slurm knows of a run's jobs and Snakemake does not: why one failed, that one will wait for ever or is forgotten.

Runs in the process of Snakemake, beside the plugin for Slurm.
"""

import os
import pwd
import re
import shlex
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from headwise.runtime.cluster import Cluster
from headwise.runtime.slurm import LONGEST_WAIT, SlurmError, call, job_name_prefix

# How often waiting jobs are looked at: once for all of them.
SECONDS = 30.0
# Of the controller's time, what questions about jobs may take; and the seconds between two of them at least.
SHARE, SHORTEST = 0.01, 2.0
# What a waiting job can wait for and that does not pass by itself: it asks for more than is ever allowed. Limits on
# what a user or a group uses at one time do pass, and so do nodes that are down.
NEVER = re.compile(
    r"PartitionTimeLimit|PartitionNodeLimit|BadConstraints|InvalidAccount|InvalidQOS|DependencyNeverSatisfied|"
    r"PartitionConfig|MaxMemPerLimit|\w+Max\w+PerJob(Limit)?|AccountNotAllowed|QOSNotAllowed"
)
# What is asked of a job, and how squeue spells it; of an array the number that its tasks share.
FIELDS = {
    "number": "%F",
    "state": "%T",
    "reason": "%r",
    "partition": "%P",
    "cpus": "%C",
    "memory": "%m",
    "time": "%l",
    "name": "%j",
}
KILLED = 9
# Memory as Slurm writes it; "16?" stands where accounting has not yet heard what a job asked for.
MEMORY = re.compile(r"[\d.]+[KMGTP]?[cn]?")
# Seconds for accounting to hear of the end of a job that the controller has forgotten.
PATIENCE = 120.0
LINES = 20  # of a log, at its end
UNFINISHED = ("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "UNKNOWN")


def attend(scheduler: Any, cluster: Cluster) -> None:
    """Have the executor of a scheduler of Snakemake do what `watched` adds, and end a job whose reason to wait does not
    pass."""
    executor = scheduler._executor  # where the plugin for Slurm submits jobs and reports what became of them
    executor.cluster, executor.controller = cluster, Controller()
    executor.reasons, executor.logs, executor.ended, executor.last_known = {}, {}, [], {}
    executor.__class__ = watched(type(executor))
    threading.Thread(target=_watch, args=(executor.reasons, executor.controller), daemon=True).start()


class Controller:
    """What Slurm's controller said when it was last asked, and the seconds until it may be asked again."""

    seconds: float = LONGEST_WAIT
    # When that was (`time.monotonic`), and the numbers of this process's jobs that it knew.
    known: tuple[float, frozenset[str]] = (float("-inf"), frozenset())

    def answered(self, seconds: float) -> None:
        """Where it answers at once it is asked often; where it is busy, seldom."""
        self.seconds = min(max(seconds / SHARE, SHORTEST), LONGEST_WAIT)

    def jobs(self) -> list[dict[str, str]]:
        """The jobs of this process that wait, run, or ended lately. Raises SlurmError where squeue fails."""
        asked = time.monotonic()
        try:
            said = call("squeue", "--me", "--noheader", "--states=all", f"--format={'|'.join(FIELDS.values())}")
        except SlurmError:  # it restarts
            self.seconds = LONGEST_WAIT
            raise
        self.answered(time.monotonic() - asked)
        lines = (line.split("|", maxsplit=len(FIELDS) - 1) for line in said.splitlines())
        jobs = [job for job in (dict(zip(FIELDS, line, strict=True)) for line in lines) if _is_own(job)]
        self.known = asked, frozenset(job["number"] for job in jobs)
        return jobs


def watched(plugin: Any) -> type:
    """The plugin's executor with what it lacks.

    Jobs go to partitions with room for them. Of each failed job it is said what Slurm knows. What became of jobs is
    asked at the controller's pace; by itself the plugin waits ten seconds longer after each question in vain, up to
    three minutes. No job is waited for that Slurm has forgotten. And Snakemake runs the jobs of a Slurm job itself,
    those of a group side by side; by itself the plugin has it start another Snakemake for each, one after the other,
    which binds cores of what has several tasks.
    """

    class Watched(plugin):
        cluster: Cluster
        controller: Controller
        reasons: dict[str, str]  # of jobs that were cancelled, since they would wait for ever
        logs: dict[int, dict[Path, tuple[int, int]]]  # of jobs that were submitted, as they were before
        ended: list[SubmittedJobInfo]  # since the last look
        last_known: dict[str, float]  # when the controller last knew a job

        @property
        def next_seconds_between_status_checks(self) -> float:
            return min(super().next_seconds_between_status_checks, self.controller.seconds)

        @next_seconds_between_status_checks.setter
        def next_seconds_between_status_checks(self, seconds: float) -> None:
            super(Watched, type(self)).next_seconds_between_status_checks.fset(self, seconds)

        def additional_general_args(self) -> str:
            return "--executor local"

        def get_partition_arg(self, job: Any) -> str:
            chosen = job.resources.get("slurm_partition")
            memory, minutes, gpus = (int(job.resources.get(key) or 0) for key in ("mem_mb", "runtime", "gpu"))
            return f" -p {shlex.quote(str(chosen or self.cluster.partition_for(memory, minutes, gpus, job.threads)))}"

        def run_job(self, job: Any) -> None:
            self.logs[id(job)] = states(path for each in jobs_of(job) for path in each.log)
            try:
                super().run_job(job)
            except Exception as error:  # whatever it is, of a group the plugin loses it and waits for ever
                cause = error.__context__ or error
                self._report_job_error_threadsafe(SubmittedJobInfo(job), f"not submitted to Slurm: {cause}")

        def report_job_success(self, job_info: Any) -> None:
            self._over(job_info)
            super().report_job_success(job_info)

        def report_job_error(self, job_info: Any, msg: str | None = None, **more: Any) -> None:
            self._over(job_info)
            number, job = job_info.external_jobid, job_info.job
            known = None if number is None else self.reasons.pop(number, None) or why_it_ended(number)
            # What the plugin says of a refusal goes on with the whole call, thousands of characters.
            said = known or (msg or "").split("\n    sbatch call:")[0]
            logger = self.logger
            if said and job.is_group():  # of which Snakemake prints no message
                logger.error(f"Error in group {job.groupid}: {said}")
            for path in own_logs(job, self.logs.pop(id(job), {})):
                logger.error(f"The end of {path}:\n{last_lines(path)}")
            super().report_job_error(job_info, msg=said and f"{said}. ", **more)

        def _over(self, job_info: Any) -> None:
            self.ended.append(job_info)
            self.last_known.pop(job_info.external_jobid, None)  # a controller that crashed gives a number again

        async def check_active_jobs(self, active_jobs: list[Any]) -> AsyncIterator[Any]:
            self.ended.clear()
            async for _ in super().check_active_jobs(active_jobs):
                pass
            # Not what the plugin yields: where the controller did not answer that is nothing, and it never looks again.
            ended = set(map(id, self.ended))
            for job_info in active_jobs:
                if id(job_info) not in ended and not self._report_forgotten(job_info):
                    yield job_info

        def _report_forgotten(self, job_info: Any) -> bool:
            """Report the end of a job that the controller does not know any more; False where it does, or where it is
            too early to say. It forgets ended jobs after some minutes, and may forget others where it crashed."""
            number, now = job_info.external_jobid, time.monotonic()
            asked, numbers = self.controller.known
            elsewhere = any(job_info.job.resources.get(key) for key in ("cluster", "clusters", "slurm_cluster"))
            if elsewhere or number.split("_")[0] in numbers or number not in self.last_known:
                self.last_known[number] = now
            if asked <= self.last_known[number]:
                return False
            state = accounted_state(number)
            if state == "COMPLETED":
                self.report_job_success(job_info)
            elif state not in UNFINISHED or now - self.last_known[number] > PATIENCE:
                self.report_job_error(
                    job_info, f"Slurm job {number} is lost: Slurm's controller does not know it any more"
                )
            else:
                return False
            return True

    return Watched


def _watch(reasons: dict[str, str], controller: Controller) -> None:
    waiting = threading.Event()
    while True:
        with suppress(SlurmError):  # where the controller restarts it is asked again
            for number, reason in never_starting(controller.jobs()).items():
                reasons[number] = reason
                call("scancel", number)
        waiting.wait(SECONDS)


def _is_own(job: dict[str, str]) -> bool:
    return job["name"].startswith(job_name_prefix())


def jobs_of(job: Any) -> list[Any]:
    """The jobs of a group, or the job itself."""
    return list(job.jobs) if job.is_group() else [job]


def states(paths: Iterable[str]) -> dict[Path, tuple[int, int]]:
    """When each of these files that is there was written, and its size."""
    files = [path for path in map(Path, paths) if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def own_logs(job: Any, before: dict[Path, tuple[int, int]]) -> list[Path]:
    """The logs of what failed that hold something, and that this attempt wrote: of a group those of jobs that lack an
    output."""
    failed = [each for each in jobs_of(job) if not job.is_group() or not all(map(os.path.exists, each.output))]
    after = states(path for each in failed for path in each.log)
    return [path for path, state in after.items() if state[1] and before.get(path) != state]


def last_lines(path: Path) -> str:
    """The last lines of a log, indented."""
    with path.open(encoding="utf-8", errors="backslashreplace") as log:
        return "".join(f"    {line.rstrip()}\n" for line in deque(log, maxlen=LINES)).rstrip("\n")


def never_starting(jobs: Iterable[dict[str, str]]) -> dict[str, str]:
    """By the number of each job that waits for what does not come: a sentence that says so."""
    return {
        job["number"]: f"Slurm job {job['number']} was cancelled, since it would wait for ever: partition "
        f"{job['partition']} never gives {job['cpus']} CPUs, {job['memory']} of memory and a time of {job['time']} "
        f"(Slurm's reason: {job['reason']}): correct the sizes in slurm/cluster.yaml"
        for job in jobs
        if job["state"] == "PENDING" and NEVER.fullmatch(job["reason"])
    }


def why_it_ended(number: str) -> str | None:
    """What accounting, or else the controller, says of a job that failed, as a sentence; None where neither knows."""
    for ask in (_from_accounting, _from_controller):
        try:
            job = ask(number)
        except SlurmError:
            continue
        if job.get("State") not in UNFINISHED:  # accounting is some seconds late
            return _sentence(number, job)
    return None


def accounted_state(number: str) -> str:
    """The state of a job by accounting, without what follows it; UNKNOWN where accounting does not answer."""
    try:
        return _from_accounting(number)["State"].split()[0]
    except SlurmError:
        return "UNKNOWN"


def _sentence(number: str, job: dict[str, str]) -> str:
    state, code = job["State"].split()[0], job["ExitCode"]
    where = f" on {job['NodeList']}" if job["NodeList"] not in ("", "None assigned", "(null)") else ""
    head = f"Slurm job {number} ended as {job['State']} (exit code {code}){where} after {job['Elapsed']}"
    if state == "OUT_OF_MEMORY" or (state == "FAILED" and code.endswith(f":{KILLED}")):
        most = f"; it took {job['MaxRSS']} when last looked at" if job["MaxRSS"] else ""
        asked = f", and had asked for {job['ReqMem']}" if MEMORY.fullmatch(job["ReqMem"]) else ""
        return f"{head}: out of memory, as it seems: it was killed{asked}{most}"
    if state == "TIMEOUT":
        return f"{head}: out of time: it had asked for {job['Timelimit']}"
    if state == "NODE_FAIL":
        return f"{head}: its node was lost"
    if state == "CANCELLED":
        who = f" by user {_user(job['State'].split()[-1])} (scancel)" if " by " in job["State"] else ""
        return f"{head}: cancelled{who}, not by Snakemake; it is submitted again while attempts are left"
    return head


def _user(number: str) -> str:
    try:
        return pwd.getpwuid(int(number)).pw_name
    except (KeyError, ValueError):
        return number


def _from_accounting(number: str) -> dict[str, str]:
    """The fields of a job, and the most memory that one of its steps took."""
    fields = ("JobIDRaw", "State", "ExitCode", "NodeList", "Elapsed", "ReqMem", "Timelimit", "MaxRSS")
    said = call("sacct", f"--jobs={number}", "--parsable2", "--noheader", f"--format={','.join(fields)}")
    rows = [dict(zip(fields, line.split("|"), strict=True)) for line in said.splitlines() if line]
    if not rows:
        raise SlurmError(f"accounting knows no job {number}")
    steps = [row for row in rows[1:] if row["MaxRSS"] not in ("", "0")]
    # The step's code tells a kill from a failure where that of the job does not.
    killed = [row["ExitCode"] for row in rows if row["ExitCode"].endswith(f":{KILLED}")]
    job = rows[0] | {"MaxRSS": max((row["MaxRSS"] for row in steps), key=_kilobytes, default="")}
    if not MEMORY.fullmatch(job["ReqMem"]):
        with suppress(SlurmError):
            job |= {"ReqMem": _from_controller(number)["ReqMem"]}
    return job | {"ExitCode": killed[0]} if killed and job["State"].startswith("FAILED") else job


def _from_controller(number: str) -> dict[str, str]:
    said = dict(part.split("=", maxsplit=1) for part in call("scontrol", "show", "job", number).split() if "=" in part)
    return {
        "State": said.get("JobState", "UNKNOWN"),
        "ExitCode": said.get("ExitCode", ""),
        "NodeList": said.get("NodeList", ""),
        "Elapsed": said.get("RunTime", ""),
        "ReqMem": said.get("MinMemoryNode", said.get("MinMemoryCPU", "")),
        "Timelimit": said.get("TimeLimit", ""),
        "MaxRSS": "",
    }


def _kilobytes(size: str) -> float:
    unit = {"K": 1, "M": 1024, "G": 1024**2}.get(size[-1], 1 / 1024)
    return float(size.rstrip("KMGT")) * unit
