"""Orphans: which Slurm jobs belong to a Snakemake that is gone; with stand-ins for squeue and scancel."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwise.cli import app
from headwise.runtime.slurm import SlurmError, SlurmJob, host_name, job_name_prefix, orphans, unfinished_jobs

RUN = "c351a85f-c73c-4332-8d97-07807942ed9e"


@pytest.fixture(scope="module")
def alive() -> Iterator[int]:
    """The id of a process that looks like a Snakemake."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "-m", "snakemake"])
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def name(process: int, host: str | None = None) -> str:
    return f"headwise-{host or host_name()}-{process}_{RUN}"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alive: int, gone: int) -> Path:
    """squeue that lists four jobs, and scancel that writes down what it is given; the folder they are in."""
    lines = [
        f"11|{name(alive)}|RUNNING|rule_train_model_wildcards_a_1",
        f"12|{name(gone)}|PENDING|rule_extract_attention_wildcards_a_1",
        f"13|{name(gone, 'login9')}|RUNNING|rule_aggregate",
        "14|somebody-elses|RUNNING|(null)",
    ]
    (tmp_path / "queue").write_text("\n".join(lines) + "\n")
    for command, body in (("squeue", f"cat {tmp_path}/queue"), ("scancel", f'echo "$@" > {tmp_path}/cancelled')):
        path = tmp_path / command
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_the_prefix_is_one_that_the_plugin_accepts() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,50}", job_name_prefix())


def test_a_prefix_can_be_read_back() -> None:
    job = SlurmJob("1", f"{job_name_prefix()}_{RUN}", "RUNNING", "rule_all")
    assert (job.host, job.process) == (host_name(), os.getpid())


def test_a_long_host_name_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: f"{'login_' * 20}.example.org")
    assert re.fullmatch(r"[A-Za-z0-9-]{1,50}", job_name_prefix())


def test_a_job_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="job 3 was not submitted by headwise"):
        _ = SlurmJob("3", "mine", "RUNNING", "").host


def test_jobs_of_others_are_not_listed(slurm: Path) -> None:
    assert [job.number for job in unfinished_jobs()] == ["11", "12", "13"]


def test_only_jobs_whose_snakemake_is_gone_are_orphans(slurm: Path) -> None:
    assert [job.number for job in orphans(unfinished_jobs())] == ["12"]
    assert [job.number for job in orphans(unfinished_jobs(), ["login9"])] == ["12", "13"]


def test_another_program_with_the_same_process_id_is_no_snakemake() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        assert orphans([SlurmJob("5", name(process.pid), "RUNNING", "")])
    finally:
        process.kill()
        process.wait()


def test_the_command_cancels_orphans_alone(slurm: Path) -> None:
    said = CliRunner().invoke(app, ["cancel-orphans"])
    assert said.exit_code == 0
    assert (slurm / "cancelled").read_text() == "12\n"
    assert "12  rule_extract_attention_wildcards_a_1  PENDING  cancelled" in said.output
    assert "1 orphans among 3 unfinished jobs" in said.output
    assert "login9 were left alone" in said.output


def test_a_dry_run_cancels_nothing(slurm: Path) -> None:
    said = CliRunner().invoke(app, ["cancel-orphans", "--dry-run"])
    assert "would be cancelled" in said.output
    assert not (slurm / "cancelled").exists()


def test_no_slurm_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match="squeue: not found: run this on a login node"):
        unfinished_jobs()
