"""What a run of Snakemake says while it works: a line per finished job, and all that is needed where one fails.

Fed with the records of Snakemake's logger; knows nothing of terminals (`snakemake_logger_plugin_headwise`).
"""

import logging
import os
import shlex
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

# What Snakemake says of every run, and what is in its log file all the same.
COMMONPLACES = (
    "Assuming unrestricted shared filesystem",
    "Complete log(s):",
    "Conda environments: ignored",
    "Elapsed time:",
    "Execute ",
    "Group jobs: inactive",
    "Select jobs to execute",
    "Singularity containers: ignored",
    "Touching output file ",
    "Using shell:",
    "host:",
)
# Events that say what others say as well, or what stands in the log file.
SILENT = (
    LogEvent.GROUP_INFO,
    LogEvent.JOB_STARTED,
    LogEvent.PROGRESS,
    LogEvent.RESOURCES_INFO,
    LogEvent.RULEGRAPH,
    LogEvent.SHELLCMD,
    LogEvent.WORKFLOW_STARTED,
)
LINES = 12  # of the log of a job that failed, at its end
# Until jobs show how fast a machine is, it is taken for as fast as expected: the weight of that, in seconds.
BELIEVED_SECONDS = 60.0


@dataclass(frozen=True)
class Expected:
    """What is expected of a job: the part of the study that it belongs to, and its seconds on one core or GPU."""

    stage: str
    seconds: float


@dataclass
class RunningJob:
    """A job that has started, with what Snakemake says of it."""

    rule: str
    subject: str
    started: float


@dataclass
class RunLog:
    """The state of a run, from the records of its log.

    command    that started it, without targets: Snakemake and its arguments
    cores      jobs of one core that run side by side; 0 where nobody knows, as on a cluster
    """

    command: Sequence[str] = ("snakemake",)
    cores: int = 0
    expected: Mapping[int, Expected] = field(default_factory=dict)
    of_rule: Counter[str] = field(default_factory=Counter)
    done_of_rule: Counter[str] = field(default_factory=Counter)
    running: dict[int, RunningJob] = field(default_factory=dict)
    started: float | None = None
    seconds_done: float = 0.0
    warnings: int = 0
    _shown: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        """Jobs of this run."""
        return sum(self.of_rule.values())

    @property
    def done(self) -> int:
        """Those that have ended well."""
        return sum(self.done_of_rule.values())

    def lines(self, record: logging.LogRecord, now: float) -> list[str]:
        """What is said of a record that was written at `now` (seconds of any clock)."""
        told = {
            None: self._message,
            LogEvent.RUN_INFO: self._run_info,
            LogEvent.JOB_INFO: self._job_info,
            LogEvent.JOB_FINISHED: self._job_finished,
            LogEvent.JOB_ERROR: self._job_error,
            LogEvent.GROUP_ERROR: self._group_error,
        }
        event = getattr(record, "event", None)
        return [] if event in SILENT else list(told.get(event, self._message)(record, now))

    def status(self, now: float) -> str:
        """Where the run stands, in a line."""
        stages = dict.fromkeys(self.expected[number].stage for number in self.running if number in self.expected)
        parts = [
            ", ".join(filter(None, stages)),
            f"{self.done} of {self.total} jobs",
            self._left(now),
            self.warned() if self.warnings else "",
            "now " + "; ".join(f"{job.rule} {job.subject}".rstrip() for job in self.running.values())
            if self.running
            else "",
        ]
        return " · ".join(filter(None, parts))

    def warned(self) -> str:
        """How many warnings there were."""
        return counted(self.warnings, "warning")

    def seconds_left(self, now: float) -> float | None:
        """Seconds until the last job ends; None where nothing is known of them.

        What is left, over what a second has done so far, which counts as `cores` for the first BELIEVED_SECONDS.
        """
        if not self.expected or self.started is None:
            return None
        begun = sum(
            min(now - job.started, 0.9 * self.expected[number].seconds)
            for number, job in self.running.items()
            if number in self.expected
        )
        elapsed, done = now - self.started, self.seconds_done + begun
        if not self.cores and (elapsed < BELIEVED_SECONDS or not done):
            return None
        believed = BELIEVED_SECONDS if self.cores else 0.0
        speed = (done + self.cores * believed) / (elapsed + believed)
        return max(sum(job.seconds for job in self.expected.values()) - done, 0.0) / speed

    def _left(self, now: float) -> str:
        left = self.seconds_left(now)
        # To five seconds: a time that is counted is no better known.
        return "" if left is None or left < 2.5 else f"about {duration(5 * round(left / 5))} left"

    def _message(self, record: logging.LogRecord, now: float) -> Iterator[str]:
        if expected := getattr(record, "expected_jobs", None):
            self.expected, self.cores, self.started = expected, getattr(record, "cores", 0), now
            for rule in getattr(record, "rules_without_work", ()):
                self.of_rule.pop(rule, None)
        message = "" if record.msg in (None, "None") else str(record.msg)
        if record.levelno >= logging.WARNING:
            self.warnings += record.levelno == logging.WARNING
            if message.startswith("The end of "):  # of a log, as runtime/watch.py gives it
                self._shown.add(message.removeprefix("The end of ").split(":\n")[0])
        elif message.startswith(COMMONPLACES):
            return
        if message.strip():
            yield message.strip("\n")

    def _run_info(self, record: Any, now: float) -> Iterator[str]:
        self.of_rule = Counter({rule: count for rule, count in record.stats.items() if rule != "total"})
        self.started = now
        yield from ()

    def _job_info(self, record: Any, now: float) -> Iterator[str]:
        self.running[record.jobid] = RunningJob(record.rule_name, subject_of(record.wildcards), now)
        yield from ()

    def _job_finished(self, record: Any, now: float) -> Iterator[str]:
        job = self.running.pop(record.job_id, None)
        if job is None or job.rule not in self.of_rule:  # such as `all`
            return
        known = self.expected.get(record.job_id)
        self.done_of_rule[job.rule] += 1
        self.seconds_done += known.seconds if known else 0.0
        of_rule = self.of_rule[job.rule]
        parts = [
            f"{self.done:>{len(str(self.total))}} of {self.total}",
            f"{known.stage}: {job.rule}" if known and known.stage else job.rule,
            f"{self.done_of_rule[job.rule]} of {of_rule}" if of_rule > 1 else "",
            job.subject,
            duration(now - job.started),
            self._left(now),
        ]
        yield "  ".join(filter(None, parts))

    def _job_error(self, record: Any, now: float) -> Iterator[str]:
        job = self.running.pop(record.jobid, None)
        if record.indent and all(map(os.path.exists, record.output)):  # of a group, and not what failed in it
            return
        yield f"FAILED: rule {record.rule_name}" + (f", {job.subject}" if job and job.subject else "")
        if record.rule_msg:
            yield f"  {record.rule_msg}"
        for name, value in record.aux.items():  # such as the number that Slurm knows a job by
            yield f"  {name}: {value}"
        for log in record.log:
            if log in self._shown:
                self._shown.remove(log)
            else:
                yield from end_of(Path(log))
        # Snakemake says where a file is in another way where that is no local folder.
        if target := next((output for output in record.output if "(" not in output), None):
            yield f"  To run it again: {repeating(self.command, target)}"

    def _group_error(self, record: Any, now: float) -> Iterator[str]:
        yield f"FAILED: group {record.groupid} of {counted(len(record.job_error_info), 'job')}"


def subject_of(wildcards: Mapping[str, str] | None) -> str:
    """What a job is about: its model, group or arm, and its refit."""
    return ", ".join(f"{name} {value}" if name == "seed" else str(value) for name, value in (wildcards or {}).items())


def duration(seconds: float) -> str:
    """About how long, in the largest unit that has a digit to show."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"


def counted(number: int, what: str) -> str:
    """1 job, 2 jobs."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def end_of(log: Path) -> Iterator[str]:
    """The last lines of a log, indented, under its name."""
    try:
        with log.open(encoding="utf-8", errors="backslashreplace") as file:
            last = deque((line.rstrip() for line in file), maxlen=LINES)
    except OSError:
        return
    if last:
        yield f"  The end of {log}:"
        yield from (f"    {line}" for line in last)


def repeating(command: Sequence[str], target: str) -> str:
    """The command that makes one file as this one did.

    The file stands before the arguments: options such as --configfile take all that follows.
    """
    return shlex.join([command[0], target, *command[1:]])
