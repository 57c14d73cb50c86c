"""Slurm jobs of headwise: how they are named, and which of them nobody waits for any more.

The name of a job begins with host and process id of the Snakemake that submitted it (`slurm/config.yaml`), so that jobs
whose Snakemake was killed can be told from those of a run that goes on, by their name alone.
Imported by the profile, in the process of Snakemake itself: standard library only.
"""

import os
import re
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = "headwise"
NAME = re.compile(rf"{PROJECT}-(?P<host>[A-Za-z0-9-]+)-(?P<process>\d+)_[0-9a-f-]+")
# The plugin allows prefixes of 50 characters.
HOST_LENGTH = 30
# Seconds until Snakemake first asks what became of its jobs, and at most between two of its questions.
FIRST_LOOK = 5
LONGEST_WAIT = 60


class SlurmError(OSError):
    """One of Slurm's commands failed; the message names it and what it said."""


@dataclass(frozen=True)
class SlurmJob:
    """A job of this user that headwise submitted and that has not ended: its id, name, state and comment (the rule)."""

    number: str
    name: str
    state: str
    rule: str

    @property
    def host(self) -> str:
        """The host that the job was submitted from, as `host_name` gives it."""
        return self._submitted_by["host"]

    @property
    def process(self) -> int:
        """The process id of the Snakemake that submitted the job."""
        return int(self._submitted_by["process"])

    @property
    def _submitted_by(self) -> re.Match[str]:
        match = NAME.fullmatch(self.name)
        if match is None:
            raise ValueError(f"Slurm job {self.number} was not submitted by {PROJECT}: its name is '{self.name}'")
        return match


def host_name() -> str:
    """The name of this host without its domain, of characters that a job's name may have."""
    return re.sub("[^A-Za-z0-9-]", "-", socket.gethostname().split(".")[0])[:HOST_LENGTH]


def job_name_prefix() -> str:
    """What the names of the jobs that this process submits begin with."""
    return f"{PROJECT}-{host_name()}-{os.getpid()}"


def seconds_until_first_look() -> int:
    """How long Snakemake waits before it first asks what became of a job: short where the controller remembers ended
    jobs for longer than may lie between two questions, twice over.

    Where it forgets them sooner, the plugin must ask accounting, which it does where three times this wait is more than
    what the controller remembers.
    """
    try:
        said = re.search(r"MinJobAge\s*=\s*(\d+)", call("scontrol", "show", "config"))
    except SlurmError:
        said = None
    remembered = int(said[1]) if said else 2 * LONGEST_WAIT
    return FIRST_LOOK if remembered >= 2 * LONGEST_WAIT else remembered // 3 + 1


def unfinished_jobs() -> list[SlurmJob]:
    """All jobs of this user that headwise submitted and that wait or run. Raises SlurmError where squeue fails."""
    lines = call("squeue", "--me", "--noheader", "--format=%i|%j|%T|%k").splitlines()
    jobs = [SlurmJob(*line.split("|", maxsplit=3)) for line in lines]
    return [job for job in jobs if NAME.fullmatch(job.name)]


def orphans(jobs: Sequence[SlurmJob], hosts: Sequence[str] = ()) -> list[SlurmJob]:
    """Those of `jobs` whose Snakemake ran on this host and is gone, and all that were submitted from `hosts`."""
    here = host_name()
    return [job for job in jobs if job.host in hosts or (job.host == here and not _is_snakemake(job.process))]


def cancel(jobs: Sequence[SlurmJob]) -> None:
    """Cancel jobs. Raises SlurmError where scancel fails."""
    if jobs:
        call("scancel", *(job.number for job in jobs))


def _is_snakemake(process: int) -> bool:
    """Whether a process of that id runs Snakemake; another program may have got the id since."""
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
        state = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"snakemake" in command and state != b"Z"


def call(*command: str) -> str:
    """What one of Slurm's commands prints. Raises SlurmError where it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    except FileNotFoundError:
        raise SlurmError(f"{command[0]}: not found: run this on a login node of the cluster") from None
    if done.returncode != 0:
        raise SlurmError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout
