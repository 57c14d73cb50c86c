"""What Slurm knows of a run's jobs and Snakemake does not say: why a job failed, and that one will wait for ever.

Runs in the process of Snakemake, beside the plugin for Slurm.
"""

import os
import pwd
import re
import shlex
import threading
import time
from collections import deque
from collections.abc import Iterable
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
KILLED = 9
LINES = 20  # of a log, at its end
UNFINISHED = ("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "UNKNOWN")


def attend(scheduler: Any, cluster: Cluster) -> None:
    """Have the executor of a scheduler of Snakemake send jobs to partitions with room for them, say of each failed job
    what Slurm knows, and end a job whose reason to wait does not pass."""
    reasons: dict[str, str] = {}
    logs: dict[int, dict[Path, tuple[int, int]]] = {}  # of jobs that were submitted, as they were before
    executor = scheduler._executor  # where the plugin for Slurm submits jobs and reports what became of them
    report, submit = executor.report_job_error, executor.run_job

    def report_with_reason(job_info: Any, msg: str | None = None, **more: Any) -> None:
        number = job_info.external_jobid
        known = None if number is None else reasons.pop(number, None) or why_it_ended(number)
        # What the plugin says of a refusal goes on with the whole call, thousands of characters.
        said = known or (msg or "").split("\n    sbatch call:")[0]
        if said and job_info.job.is_group():  # of which Snakemake prints no message
            executor.logger.error(f"Error in group {job_info.job.groupid}: {said}")
        for path in own_logs(job_info.job, logs.pop(id(job_info.job), {})):
            executor.logger.error(f"The end of {path}:\n{last_lines(path)}")
        report(job_info, msg=said and f"{said}. ", **more)  # Snakemake appends a sentence

    def submit_or_report(job: Any) -> None:
        logs[id(job)] = states(path for each in jobs_of(job) for path in each.log)
        try:
            submit(job)
        except Exception as error:  # whatever it is, of a group the plugin loses it and waits for ever
            cause = error.__context__ or error
            executor._report_job_error_threadsafe(SubmittedJobInfo(job), f"not submitted to Slurm: {cause}")

    def partition_argument(job: Any) -> str:
        chosen = job.resources.get("slurm_partition")
        memory, minutes, gpus = (int(job.resources.get(key) or 0) for key in ("mem_mb", "runtime", "gpu"))
        return f" -p {shlex.quote(str(chosen or cluster.partition_for(memory, minutes, gpus, job.threads)))}"

    executor.report_job_error, executor.run_job = report_with_reason, submit_or_report
    executor.get_partition_arg = partition_argument
    pace = Pace()
    executor.__class__ = _short_of_waits(type(executor), pace)
    threading.Thread(target=_watch, args=(reasons, pace), daemon=True).start()


class Pace:
    """The seconds between two questions to the controller, from how long it took over the last."""

    seconds: float = LONGEST_WAIT

    def answered(self, seconds: float) -> None:
        """Where it answers at once it is asked often; where it is busy, seldom."""
        self.seconds = min(max(seconds / SHARE, SHORTEST), LONGEST_WAIT)


def _short_of_waits(plugin: type, pace: Pace) -> type:
    """The plugin's executor without the waits that are most of the time of a study of short jobs.

    It asks what became of its jobs at that pace; by itself it waits ten seconds longer after each question in vain, up
    to three minutes. And Snakemake runs the jobs of a Slurm job itself, those of a group side by side; by itself the
    plugin has it start another Snakemake for each, one after the other, which binds cores of what has several tasks.
    """
    own = plugin.next_seconds_between_status_checks  # type: ignore[attr-defined]
    changed = {
        "next_seconds_between_status_checks": property(lambda self: min(own.fget(self), pace.seconds), own.fset),
        "additional_general_args": lambda self: "--executor local",
    }
    return type(plugin.__name__, (plugin,), changed)


def _watch(reasons: dict[str, str], pace: Pace) -> None:
    waiting = threading.Event()
    while True:
        try:
            asked = time.monotonic()
            found = never_starting()
            pace.answered(time.monotonic() - asked)
            for number, reason in found.items():
                reasons[number] = reason
                call("scancel", number)
        except SlurmError:
            pace.seconds = LONGEST_WAIT  # the controller restarts: it is asked again
        waiting.wait(SECONDS)


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


def never_starting() -> dict[str, str]:
    """By the number of each job of this process that waits for what does not come: a sentence that says so.

    Raises SlurmError where squeue fails.
    """
    fields = ("%i", "%r", "%P", "%C", "%m", "%l", "%j")
    waiting = {}
    for line in call("squeue", "--me", "--noheader", "--states=PENDING", f"--format={'|'.join(fields)}").splitlines():
        number, reason, partition, cpus, memory, minutes, name = line.split("|", maxsplit=len(fields) - 1)
        if NEVER.fullmatch(reason) and name.startswith(job_name_prefix()):
            waiting[number] = (
                f"Slurm job {number} was cancelled, since it would wait for ever: partition {partition} never gives "
                f"{cpus} CPUs, {memory} of memory and a time of {minutes} (Slurm's reason: {reason}): correct the "
                "sizes in slurm/cluster.yaml"
            )
    return waiting


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


def _sentence(number: str, job: dict[str, str]) -> str:
    state, code = job["State"].split()[0], job["ExitCode"]
    where = f" on {job['NodeList']}" if job["NodeList"] not in ("", "None assigned", "(null)") else ""
    head = f"Slurm job {number} ended as {job['State']} (exit code {code}){where} after {job['Elapsed']}"
    if state == "OUT_OF_MEMORY" or (state == "FAILED" and code.endswith(f":{KILLED}")):
        most = f"; it took {job['MaxRSS']} when last looked at" if job["MaxRSS"] else ""
        return f"{head}: out of memory, as it seems: it was killed, and had asked for {job['ReqMem']}{most}"
    if state == "TIMEOUT":
        return f"{head}: out of time: it had asked for {job['Timelimit']}"
    if state == "NODE_FAIL":
        return f"{head}: its node was lost"
    if state == "CANCELLED":
        who = f" by user {_user(job['State'].split()[-1])}" if " by " in job["State"] else ""
        return f"{head}: cancelled{who}, not by Snakemake (scancel); it is submitted again while attempts are left"
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
