"""What is said of Slurm jobs that failed or will wait for ever; Slurm's own words in the tests of tests/slurm."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluster import wait_until

from headwise.runtime import watch
from headwise.runtime.cluster import Cluster, ClusterError, Partition
from headwise.runtime.slurm import job_name_prefix, seconds_until_first_look


def answer(folder: Path, monkeypatch: pytest.MonkeyPatch, **answers: str | None) -> None:
    """Programs of Slurm that print what they are told, or fail."""
    folder.mkdir(exist_ok=True)
    for name, text in answers.items():
        program = folder / name
        body = "exit 1" if text is None else f"cat <<'END'\n{text}\nEND"
        program.write_text(f'#!/bin/sh\necho "$0 $@" >> {folder}/calls\n{body}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


ACCOUNTED = {
    "12|OUT_OF_MEMORY|0:125|n1|00:00:09|1000M|00:10:00|": "out of memory.*had asked for 1000M",
    "12|FAILED|0:9|n1|00:00:09|1000M|00:10:00|\n12.batch|FAILED|0:9|n1|00:00:09|||1300M": "out of memory.*took 1300M",
    "12|FAILED|1:0|n1|00:00:09|1000M|00:10:00|\n12.0|CANCELLED|0:9|n1|00:00:09|||900K": "0:9.*out of memory.*took 900K",
    "12|FAILED|1:0|n1|00:00:09|1000M|00:10:00|": r"ended as FAILED \(exit code 1:0\) on n1 after 00:00:09$",
    "12|TIMEOUT|0:0|n1|00:01:02|1000M|00:01:00|": "out of time: it had asked for 00:01:00",
    "12|NODE_FAIL|1:0|n1|00:01:02|1000M|00:01:00|": "its node was lost",
    "12|CANCELLED by 0|0:0|None assigned|00:00:00|1000M|00:01:00|": "cancelled by user root .scancel., not by",
    "12|CANCELLED|0:0|None assigned|00:00:00|1000M|00:01:00|": "after 00:00:00: cancelled, not by Snakemake",
}


@pytest.mark.parametrize(("accounted", "said"), ACCOUNTED.items())
def test_a_failed_job_is_explained_by_accounting(
    accounted: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(tmp_path, monkeypatch, sacct=accounted)
    sentence = watch.why_it_ended("12")
    assert sentence is not None
    assert sentence.startswith("Slurm job 12 ended as ")
    assert re.search(said, sentence), sentence


@pytest.mark.parametrize(
    ("controller", "said"),
    [("JobId=12 MinMemoryNode=1000M", "killed, and had asked for 1000M; it took"), (None, "killed; it took")],
)
def test_what_accounting_has_not_heard_of_memory_is_no_number(
    controller: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounted = "12|FAILED|0:9|n1|00:00:04|16?|00:10:00|\n12.batch|FAILED|0:9|n1|00:00:04|||1094519K"
    answer(tmp_path, monkeypatch, sacct=accounted, scontrol=controller)
    sentence = str(watch.why_it_ended("12"))
    assert said in sentence
    assert "?" not in sentence


def test_without_accounting_the_controller_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "JobId=12 JobName=x\n JobState=TIMEOUT Reason=TimeLimit\n ExitCode=0:15 RunTime=00:01:02 TimeLimit=00:01:00"
    answer(tmp_path, monkeypatch, sacct=None, scontrol=said)
    assert "out of time: it had asked for 00:01:00" in str(watch.why_it_ended("12"))
    # So it is while accounting has not yet heard of the end.
    answer(tmp_path, monkeypatch, sacct="12|RUNNING|0:0|n1|00:01:02|1000M|00:01:00|", scontrol=said)
    assert "ended as TIMEOUT" in str(watch.why_it_ended("12"))
    answer(tmp_path, monkeypatch, sacct="", scontrol=None)
    assert watch.why_it_ended("12") is None


def test_jobs_of_this_run_that_never_start_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = f"{job_name_prefix()}_193e12c1-81a6"
    reasons = ["PartitionTimeLimit", "Resources", "Priority", "QOSMaxCpuPerJobLimit", "AssocGrpCpuLimit", "BeginTime"]
    lines = [f"{number}|PENDING|{reason}|cpu|6|6000M|20:00|{mine}" for number, reason in enumerate(reasons)]
    lines.append("9|PENDING|PartitionTimeLimit|cpu|6|6000M|20:00|somebody-else")
    lines.append(f"10|CANCELLED|PartitionTimeLimit|cpu|6|6000M|20:00|{mine}")
    answer(tmp_path, monkeypatch, squeue="\n".join(lines))
    found = watch.never_starting(watch.Controller().jobs())
    assert sorted(found) == ["0", "3"]
    assert "partition cpu never gives 6 CPUs, 6000M of memory and a time of 20:00" in found["0"]


class Executor:
    """What of an executor of Snakemake is used; `submission` is raised by each submission."""

    next_seconds_between_status_checks = property(lambda self: 40.0)

    def __init__(self, submission: Exception | None = None) -> None:
        self.printed: list[str] = []
        self.reported: list[str | None] = []
        self.submitted: list[object] = []
        self.submission = submission
        self.logger = SimpleNamespace(error=self.printed.append)

    def run_job(self, job: SimpleNamespace) -> None:
        self.submitted.append(job)
        try:
            if self.submission:
                raise self.submission
        except Exception as error:
            # As the plugin does it: a group has no rule.
            self._report_job_error_threadsafe(SimpleNamespace(external_jobid=None, job=job), f"{job.rule}: {error}")

    def _report_job_error_threadsafe(self, info: SimpleNamespace, msg: str) -> None:
        self.report_job_error(info, msg)

    def report_job_error(self, info: SimpleNamespace, msg: str | None = None, **more: object) -> None:
        self.reported.append(msg)

    def report_job_success(self, info: SimpleNamespace) -> None:
        self.reported.append("success")

    async def check_active_jobs(self, active_jobs: list[SimpleNamespace]) -> AsyncIterator[SimpleNamespace]:
        """As the plugin where the controller does not answer."""
        for info in active_jobs[:0]:
            yield info


def group(*jobs: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(is_group=lambda: True, groupid="evaluation", jobs=jobs)


def single(log: Path | None = None, output: Path | None = None) -> SimpleNamespace:
    logs, outputs = ([str(path)] if path else [] for path in (log, output))
    return SimpleNamespace(is_group=lambda: False, log=logs, output=outputs, rule="evaluate", resources={})


def attended(monkeypatch: pytest.MonkeyPatch, submission: Exception | None = None) -> Executor:
    monkeypatch.setattr(watch, "SECONDS", 1e6)
    executor = Executor(submission)
    partitions = (Partition("cpu", 4, 4000, 60, 0), Partition("gpu", 4, 4000, 60, 2))
    watch.attend(SimpleNamespace(_executor=executor), Cluster("cluster.yaml", "lab", 2, partitions))
    return executor


def test_what_is_known_of_a_failure_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(tmp_path, monkeypatch, sacct="12|TIMEOUT|0:0|n1|00:01:02|1000M|00:01:00|")
    executor = attended(monkeypatch)
    refused = "SLURM sbatch failed. The error message was 'no such feature'"
    for job in (group(), single()):
        executor.report_job_error(SimpleNamespace(external_jobid="12", job=job), msg="FAILED", aux_logs=["12.log"])
        info = SimpleNamespace(external_jobid=None, job=job)
        executor.report_job_error(info, f"{refused}\n    sbatch call:\n        sbatch")
        executor.report_job_error(info)
    timeout, refusal = executor.printed
    assert re.match("Error in group evaluation: Slurm job 12 ended as TIMEOUT .* out of time", timeout)
    assert refusal == f"Error in group evaluation: {refused}"
    said = [f"{text.removeprefix('Error in group evaluation: ')}. " for text in executor.printed]
    assert executor.reported == [*said, "", *said, ""]


def test_a_group_that_cannot_be_submitted_fails_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = attended(monkeypatch, ValueError("the account nobody appears to be invalid"))
    executor.run_job(group())
    assert executor.printed == [
        "Error in group evaluation: not submitted to Slurm: the account nobody appears to be invalid"
    ]


def test_a_job_that_can_be_submitted_is(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = attended(monkeypatch)
    job = single()
    executor.run_job(job)
    assert (executor.submitted, executor.printed) == ([job], [])


def test_the_end_of_a_failed_jobs_own_log_is_printed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(tmp_path / "bin", monkeypatch, sacct=None, scontrol=None)
    executor = attended(monkeypatch)
    log, earlier, finished, output = (tmp_path / name for name in ("log", "earlier", "finished", "output"))
    earlier.write_text("of an earlier attempt")
    jobs = single(log, tmp_path / "absent"), single(earlier, tmp_path / "absent"), single(finished, output)
    together = group(*jobs)
    executor.run_job(together)
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    finished.write_text("all went well")
    output.touch()
    executor.report_job_error(SimpleNamespace(external_jobid="12", job=together), msg="FAILED")
    assert [text for text in executor.printed if "line" in text or "attempt" in text or "well" in text] == [
        f"The end of {log}:\n" + "\n".join(f"    line {number}" for number in range(80, 100))
    ]


@pytest.mark.parametrize(("answer_s", "wait_s"), [(0.001, 2.0), (0.3, 30.0), (5.0, 60.0)])
def test_a_controller_is_asked_as_fast_as_it_answers(answer_s: float, wait_s: float) -> None:
    controller = watch.Controller()
    assert controller.seconds == 60
    controller.answered(answer_s)
    assert controller.seconds == wait_s


def test_the_plugin_waits_no_longer_than_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(tmp_path, monkeypatch, squeue=None)
    assert attended(monkeypatch).next_seconds_between_status_checks == 40.0
    # Not in the place of a program that may be running.
    answer(tmp_path / "later", monkeypatch, squeue="12|PENDING|Priority|cpu|1|1000M|10:00|another")
    executor = attended(monkeypatch)
    wait_until(lambda: executor.next_seconds_between_status_checks < 40.0, "a shorter wait", 30)


# What accounting says of a job that the controller has forgotten, and what is reported: at once, and after a while.
FORGOTTEN = {
    "12|COMPLETED|0:0|n1|00:00:09|1000M|00:10:00|": ("success", "success"),
    "12|FAILED|1:0|n1|00:00:09|1000M|00:10:00|": ("ended as FAILED", "ended as FAILED"),
    "12|RUNNING|0:0|n1|00:00:09|1000M|00:10:00|": (None, "does not know it any more"),
    None: (None, "does not know it any more"),
}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("accounted", FORGOTTEN)
def test_a_job_that_the_controller_forgot_is_not_waited_for(
    accounted: str | None, late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = f"{job_name_prefix()}_193e12c1-81a6"
    answer(tmp_path, monkeypatch, squeue=f"13|RUNNING|None|cpu|1|1M|20:00|{mine}", sacct=accounted, scontrol=None)
    executor = attended(monkeypatch)
    jobs = [SimpleNamespace(external_jobid=number, job=single()) for number in ("12", "13")]

    async def still_active() -> list[str]:
        return [info.external_jobid async for info in executor.check_active_jobs(jobs)]

    # Submitted since the controller was asked, and the plugin gets no answer.
    wait_until(lambda: executor.controller.known[0] > 0, "the controller asked", 30)  # type: ignore[attr-defined]
    assert asyncio.run(still_active()) == ["12", "13"]
    executor.controller.jobs()  # type: ignore[attr-defined]
    monkeypatch.setattr(watch, "PATIENCE", -1.0 if late else 1e6)
    told = FORGOTTEN[accounted][late]
    assert asyncio.run(still_active()) == (["12", "13"] if told is None else ["13"])
    assert len(executor.reported) == (told is not None)
    assert told is None or told in str(executor.reported)


def test_jobs_go_to_a_partition_that_has_room_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    partition = attended(monkeypatch).get_partition_arg  # type: ignore[attr-defined]

    def job(threads: int = 1, **resources: object) -> SimpleNamespace:
        return SimpleNamespace(threads=threads, resources={"mem_mb": 1000, "runtime": 10} | resources)

    assert partition(job()) == " -p cpu"
    assert partition(job(gpu=1)) == " -p gpu"
    assert partition(job(slurm_partition="my own", mem_mb=10**6)) == " -p 'my own'"
    for more in ({"threads": 5}, {"mem_mb": 4001}, {"runtime": 61}, {"gpu": 3}):
        with pytest.raises(ClusterError, match="which no partition of"):
            partition(job(**more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("remembered", "seconds"), [("300 sec", 5), ("120 sec", 5), ("100 sec", 34), ("2 sec", 1), (None, 5)]
)
def test_the_first_look_is_early_where_no_job_is_forgotten(
    remembered: str | None, seconds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(tmp_path, monkeypatch, scontrol=None if remembered is None else f"MinJobAge               = {remembered}")
    assert seconds_until_first_look() == seconds
