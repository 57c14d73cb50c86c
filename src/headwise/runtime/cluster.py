"""What nodes of a cluster have and how long jobs may run, from `slurm/cluster.yaml`; what jobs may therefore ask for.

The words are those of Snakemake's plugin for Slurm, which chooses partitions by how closely a job fills them: jobs
without a GPU then go to a partition with GPUs whose time is short. So the choice is made here.
Imported by the profile and by the Snakefile, so nothing heavy is imported here.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

import yaml

# Says to all processes of a run that requests are held against this file; the profile for Slurm sets it.
VARIABLE = "HEADWISE_CLUSTER"
# What a partition must say, and what that is.
SIZES = {
    "max_threads": "CPUs of a node",
    "max_mem_mb": "memory of a node in MB",
    "max_runtime": "longest time of a job in minutes",
}
# More of a node than this helps none of the groups of short jobs.
GROUP_CORES = 8
LARGEST_GROUP = 20
# What one evaluation asks for at most (workflow/rules/specialization.smk), and all jobs of the report, or up to the
# tokenizer, one after the other; tests compare them with the rules.
EVALUATION_MB, EVALUATION_MINUTES = 4000, 20
REPORT_MINUTES = 380
INPUTS_MINUTES = 360


class ClusterError(ValueError):
    """A file about a cluster that cannot be used, or a job that no partition can run; the message says what to do."""


@dataclass(frozen=True)
class Partition:
    """Nodes that are alike: CPUs, memory in MB and GPUs of each, and the minutes that a job may take there."""

    name: str
    cpus: int
    memory_mb: int
    minutes: int
    gpus: int

    def has_room(self, memory_mb: int, minutes: int, gpus: int, cpus: int = 1) -> bool:
        """Whether such a job can run here."""
        return memory_mb <= self.memory_mb and minutes <= self.minutes and gpus <= self.gpus and cpus <= self.cpus

    def __str__(self) -> str:
        return f"{self.name}: {amounts(self.memory_mb, self.minutes, self.gpus, self.cpus)}"


@dataclass(frozen=True)
class Cluster:
    """The file that says it, the account that pays, how many GPUs a run may hold, and the partitions."""

    source: str
    account: str
    gpus: int
    partitions: tuple[Partition, ...]

    @property
    def most_memory_mb(self) -> int:
        """Of the largest node."""
        return max(partition.memory_mb for partition in self.partitions)

    @property
    def longest_minutes(self) -> int:
        """Of the partition that allows most."""
        return max(partition.minutes for partition in self.partitions)

    @property
    def group_cores(self) -> int:
        """CPUs of a job that runs several short ones side by side."""
        return min(GROUP_CORES, self._usual.cpus)

    @property
    def evaluations_together(self) -> int:
        """How many evaluations share a job, so that a node has the memory and its partition the time for all of them,
        also when each asks for as much as it ever does."""
        side_by_side = max(1, min(self.group_cores, self._usual.memory_mb // EVALUATION_MB))
        one_after_the_other = max(1, self._usual.minutes // EVALUATION_MINUTES)
        return min(LARGEST_GROUP, side_by_side * one_after_the_other)

    @property
    def report_together(self) -> bool:
        """Whether everything up to the report may share a job."""
        return self._usual.minutes >= REPORT_MINUTES

    @property
    def inputs_together(self) -> bool:
        """Whether prompts, corpus and tokenizer may share a job."""
        return self._usual.minutes >= INPUTS_MINUTES

    @property
    def _usual(self) -> Partition:
        """Where jobs without a GPU go: the smallest of those partitions, so that a group fits wherever it is sent."""
        without = [partition for partition in self.partitions if not partition.gpus] or list(self.partitions)
        return min(without, key=lambda partition: (partition.memory_mb, partition.minutes))

    def has_room(self, memory_mb: int, minutes: int, gpus: int) -> bool:
        """Whether some partition can run a job of one CPU."""
        return any(partition.has_room(memory_mb, minutes, gpus) for partition in self.partitions)

    def partition_for(self, memory_mb: int, minutes: int, gpus: int, cpus: int = 1) -> str:
        """Where a job is sent: of the partitions with room the one for the shortest and smallest jobs, and one with
        GPUs only if it asks for some or fits nowhere else. Raises ClusterError where none has room."""
        fitting = [each for each in self.partitions if each.has_room(memory_mb, minutes, gpus, cpus)]
        if not fitting:
            raise ClusterError(
                f"the job asks for {amounts(memory_mb, minutes, gpus, cpus)}, which no partition of {self} has: "
                "correct the sizes there if nodes are larger, or change the study so that the job needs less "
                "(`headwise cost` shows what asks for how much), or measure this model elsewhere"
            )
        return min(fitting, key=lambda each: (each.gpus > 0 and not gpus, each.minutes, each.memory_mb)).name

    def __str__(self) -> str:
        return f"{self.source} ({'; '.join(map(str, self.partitions))})"


def amounts(memory_mb: int, minutes: int, gpus: int, cpus: int = 1) -> str:
    """What a job asks for, or a node has, in words; what is 0 is not said, nor a single CPU."""
    counted = {
        "CPUs": cpus if cpus > 1 else 0,
        "MB": memory_mb,
        "minutes": minutes,
        "GPUs" if gpus > 1 else "GPU": gpus,
    }
    return ", ".join(f"{number} {unit}" for unit, number in counted.items() if number)


def read_cluster(path: str | Path) -> Cluster:
    """The cluster that a file describes. Raises ClusterError, which names file, field and remedy."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ClusterError(f"{path}: cannot be read ({' '.join(str(error).split())}): restore or correct it") from None
    if not isinstance(content, Mapping):
        raise ClusterError(f"{path}: no mapping: write account, gpus and partitions, as docs/cluster.md shows")
    account, gpus, partitions = (content.get(key) for key in ("account", "gpus", "partitions"))
    if not isinstance(account, str) or not account:
        raise ClusterError(f"{path}: account is {account!r}: name yours (`sacctmgr show user $USER withassoc`)")
    if not _is_count(gpus):
        raise ClusterError(f"{path}: gpus is {gpus!r}: write how many GPUs a run may hold, 0 for none")
    if not isinstance(partitions, Mapping) or not partitions:
        raise ClusterError(f"{path}: partitions is {partitions!r}: list at least one with its sizes (`sinfo`)")
    return Cluster(str(path), account, gpus, tuple(_partition(path, str(n), said) for n, said in partitions.items()))


def hold_requests_against(path: str | Path) -> Cluster:
    """The cluster that a file describes; from now on, and in all processes that this one starts, requests must fit."""
    cluster = read_cluster(path)
    os.environ[VARIABLE] = os.path.abspath(path)
    return cluster


@cache
def cluster_of_run() -> Cluster | None:
    """The cluster that this run's requests are held against; None where it runs on one machine or elsewhere."""
    path = os.environ.get(VARIABLE)
    return read_cluster(path) if path else None


def _partition(path: str | Path, name: str, said: Any) -> Partition:
    said = said if isinstance(said, Mapping) else {}
    for key, meaning in SIZES.items():
        if not _is_count(said.get(key)) or said[key] < 1:
            raise ClusterError(
                f"{path}: partitions.{name}.{key} is {said.get(key)!r}: write the {meaning} as a whole number; "
                f"`sinfo --partition={name} --format='%c %m %l'` shows CPUs, MB and time limit"
            )
    if not _is_count(said.get("max_gpu", 0)):
        raise ClusterError(f"{path}: partitions.{name}.max_gpu is {said['max_gpu']!r}: write the GPUs of a node")
    return Partition(name, said["max_threads"], said["max_mem_mb"], said["max_runtime"], said.get("max_gpu", 0))


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
