"""A tiny study on the test cluster: started, watched, and looked at afterwards."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cluster import Cluster, end_with_parent, wait_until
from project import Project, digests

HERE = Path(__file__).parent
# What faults are done to: seconds of work, after everything that takes long.
TARGET = "results/tiny/specialization/multi_head-sft/comparison.parquet"
MODELS = [
    {"name": "multi_head", "source": "train"},
    {"name": "multi_head-sft", "source": "align", "base": "multi_head", "method": "sft"},
]


class SlurmStudy(Project):
    """A copy of the checkout whose tiny study runs with `--profile slurm`."""

    def __init__(self, folder: Path, cluster: Cluster, seeds: Sequence[int] = (1,)) -> None:
        super().__init__(folder, seeds=list(seeds), models=MODELS)
        self._prepare(cluster)

    @classmethod
    def unfinished(cls, finished: Project, folder: Path, cluster: Cluster) -> "SlurmStudy":
        """A copy of a finished study that lacks one model's evaluation and what follows from it."""
        study = cls.__new__(cls)
        study.folder, study.study = folder, folder / finished.study.name
        shutil.copytree(finished.folder, folder)
        study._prepare(cluster)
        shutil.rmtree(study.results / "specialization" / "multi_head")
        (study.folder / TARGET).unlink()
        for follows in ("tables", "figures"):
            shutil.rmtree(study.results / follows)
        return study

    def _prepare(self, cluster: Cluster) -> None:
        self.cluster = cluster
        (self.folder / "slurm" / "cluster.yaml").write_text(cluster.shape.settings())
        self.faults = self.folder / "faults"
        self.faults.mkdir()

    @property
    def results(self) -> Path:
        return self.folder / "results" / "tiny"

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(map(str, (self.folder / "src", HERE / "faults")))
        return self.cluster.environment | {"PYTHONPATH": path, "FAULTS": str(self.faults)}

    def command(self, *arguments: str) -> list[str]:
        """Snakemake with the shipped profile; only what makes tests wait is shorter."""
        snakemake = [sys.executable, str(HERE / "impatient_snakemake.py"), "--configfile", self.study.name]
        # The rest comes before --set-resources and its like, which take all that follows.
        return [*snakemake, "--profile", "slurm", "--latency-wait", "10", *arguments]

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Snakemake in the background; what it says goes to run.log. Interrupted if it still runs at the end."""
        with (self.folder / "run.log").open("ab") as log:
            process = subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.kill()
                process.wait()

    def finish(self, process: subprocess.Popen[bytes], seconds: float = 600) -> None:
        """Wait until Snakemake ends, and that it ends well."""
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
        assert process.poll() == 0, f"{self.log()}\n{self.jobs()}"

    def log(self) -> str:
        return (self.folder / "run.log").read_text()

    def hold(self, name: str) -> None:
        """The first job that is about to finish a file of that name will wait."""
        (self.faults / "hold").write_text(name)

    def held(self) -> str:
        """Wait until a job is held and Slurm has written down that it runs; its number."""
        marker = self.faults / "held"
        wait_until(lambda: marker.exists() and marker.read_text() != "", f"a job held\n{self.log()}", 600)
        number = marker.read_text()
        wait_until(
            lambda: self.state(number) not in ("", "PENDING") and self.cluster.has_saved(self.folder),
            "the held job in the books",
        )
        return number

    def release(self) -> None:
        """Let the job that is held go on."""
        (self.faults / "hold").unlink()

    def jobs(self) -> list[dict[str, str]]:
        """What accounting says of this study's jobs, oldest first."""
        what = ("JobID", "Comment", "State", "ReqTRES", "TimelimitRaw", "ElapsedRaw", "End")
        jobs = self.cluster.accounting(*what, "Partition", "Account", "NodeList", "WorkDir")
        return [job for job in jobs if job["WorkDir"] == str(self.folder)]

    def state(self, number: str) -> str:
        """The state of a job, without what follows it, as in "CANCELLED by 0"; "" until accounting hears of it."""
        return next((job["State"].split()[0] for job in self.jobs() if job["JobID"] == number), "")

    def assert_nothing_half_written(self, reference: Project) -> None:
        """Every file that has its final name has its final content."""
        expected = digests(reference.folder / "results" / "tiny")
        visible = {
            name: digest
            for name, digest in digests(self.results).items()
            if not any(part.startswith(".") for part in Path(name).parts)
        }
        assert visible == {name: expected[name] for name in visible}

    def assert_complete(self, reference: Project) -> None:
        """All results up to the target are those of an undisturbed run, and nothing else is left."""
        self.assert_nothing_half_written(reference)
        produced = digests(self.results)
        expected = digests(reference.folder / "results" / "tiny")
        assert [name for name in produced if name.startswith("specialization")] == [
            name for name in expected if name.startswith("specialization")
        ]


def declared_requests(dry_run: str) -> dict[str, dict[str, int]]:
    """Per job, named as in Slurm's comment, what its rule declares: memory, minutes and GPUs."""
    jobs = {}
    # Jobs of a group are indented.
    for block in re.split(r"\n\s*(?=(?:local)?rule )", dry_run):
        if not (rule := re.match(r"rule (\w+):", block)):
            continue
        resources = dict(re.findall(r"(\w+)=([^,\s]+)", re.search(r"resources: (.*)", block)[1]))
        wildcards = re.search(r"wildcards: (.*)", block)
        values = re.findall(r"\w+=([^,\s]+)", wildcards[1]) if wildcards else []
        name = f"rule_{rule[1]}" + (f"_wildcards_{'_'.join(values)}" if values else "")
        jobs[name] = {key: int(resources.get(key, 0)) for key in ("mem_mb", "runtime", "gpu")}
    return jobs


def requested(job: dict[str, str]) -> dict[str, int]:
    """What a job asked Slurm for, from accounting; memory in the unit that rules call MB."""
    wanted = dict(part.split("=") for part in job["ReqTRES"].split(","))
    memory, unit = int(wanted["mem"][:-1]), wanted["mem"][-1]
    return {
        "mem_mb": memory * {"M": 1, "G": 1024}[unit],
        "runtime": int(job["TimelimitRaw"]),
        "gpu": int(wanted.get("gres/gpu", 0)),
    }


class FaultTable:
    """What each fault cost, as JSON Lines in the file that HEADWISE_FAULT_TABLE names, for the documentation."""

    def __init__(self) -> None:
        self.path = os.environ.get("HEADWISE_FAULT_TABLE")

    @contextmanager
    def recovery(self, fault: str, study: SlurmStudy) -> Iterator[None]:
        """Time from the fault, at the start of the block, to the finished study, at its end."""
        start = time.monotonic()
        yield
        self.record(fault, study, time.monotonic() - start)

    def record(self, fault: str, study: SlurmStudy, seconds: float) -> None:
        """Write a row: which jobs were lost, which ran to their end, how long it took until all was there."""
        if self.path is None:
            return
        lost = [job for job in study.jobs() if job["State"] != "COMPLETED"]
        row: dict[str, Any] = {
            "fault": fault,
            "jobs_lost": [f"{job['Comment']}: {job['State']} after {job['ElapsedRaw']} s" for job in lost],
            "jobs_run": [job["Comment"] for job in study.jobs() if job["State"] == "COMPLETED"],
            "seconds_to_recover": round(seconds, 1),
        }
        with open(self.path, "a", encoding="utf-8") as table:
            table.write(json.dumps(row) + "\n")
