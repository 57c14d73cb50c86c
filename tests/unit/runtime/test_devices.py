"""One GPU per job: pretended devices, real locks between processes."""

import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from headwise.runtime.devices import VARIABLE, device_count, own_devices, visible_devices

HOLD = """
import sys, time
from headwise.runtime.devices import own_devices
with own_devices(1) as (device,):
    start = time.time()
    time.sleep(float(sys.argv[1]))
    print(device, start, time.time())
"""


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks in a folder of the test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.mark.parametrize(
    ("value", "devices"),
    [
        ("0,1,2", ["0", "1", "2"]),
        ("3", ["3"]),
        ("GPU-8932f937, 1", ["GPU-8932f937", "1"]),
        ("", []),
        ("-1", []),
        ("2,-1,0", ["2"]),
    ],
)
def test_devices_are_those_that_cuda_would_see(monkeypatch: pytest.MonkeyPatch, value: str, devices: list[str]) -> None:
    monkeypatch.setenv(VARIABLE, value)
    assert visible_devices() == devices
    assert device_count() == len(devices)


def test_a_job_sees_its_own_device_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "4,7")
    with own_devices(1) as first:
        assert (first, os.environ[VARIABLE]) == (["4"], "4")
        monkeypatch.setenv(VARIABLE, "4,7")
        with own_devices(1) as second:
            assert (second, os.environ[VARIABLE]) == (["7"], "7")
    with own_devices(1) as freed:
        assert freed == ["4"]


def test_a_job_of_several_devices_holds_all_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0,1,2")
    with own_devices(1):
        monkeypatch.setenv(VARIABLE, "0,1,2")
        with own_devices(2) as both:
            assert (both, os.environ[VARIABLE]) == (["1", "2"], "1,2")
    with own_devices(4) as everything:
        assert everything == ["0", "1", "2"]


def test_the_variable_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "4,7")
    with own_devices(1):
        pass
    assert os.environ[VARIABLE] == "4,7"


@pytest.mark.parametrize(("count", "devices"), [(0, "0,1"), (1, ""), (0, "")])
def test_without_a_gpu_nothing_is_seen_or_locked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int, devices: str
) -> None:
    monkeypatch.setenv(VARIABLE, devices)
    with own_devices(count) as held:
        assert held == []
        assert os.environ[VARIABLE] == ""
    assert os.environ[VARIABLE] == devices
    assert not list(tmp_path.iterdir())


def spans(commands: list[subprocess.Popen[str]]) -> dict[str, list[tuple[float, float]]]:
    """When each device was held, from what the processes of HOLD printed."""
    held: dict[str, list[tuple[float, float]]] = {}
    for command in commands:
        device, start, end = command.communicate(timeout=60)[0].split()
        held.setdefault(device, []).append((float(start), float(end)))
    return held


def start_holding(seconds: float, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(seconds)], env=os.environ | environment, stdout=subprocess.PIPE, text=True
    )


def test_five_processes_share_two_devices_one_at_a_time() -> None:
    held = spans([start_holding(0.3, CUDA_VISIBLE_DEVICES="0,1") for _ in range(5)])
    assert set(held) == {"0", "1"}
    for times in held.values():
        assert all(end <= start for (_, end), (start, _) in pairwise(sorted(times)))


def test_the_device_of_a_killed_process_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    holding = start_holding(60)
    deadline = time.monotonic() + 30
    while not list(tmp_path.rglob("0")) and time.monotonic() < deadline:
        time.sleep(0.05)
    holding.kill()
    holding.communicate()
    with own_devices(1) as held:
        assert held == ["0"]


def test_jobs_of_slurm_have_devices_of_their_own_and_steps_of_one_allocation_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Slurm calls the first device of each of its jobs 0, whichever it is.
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv(VARIABLE, "0,1")
    with own_devices(1) as first:
        monkeypatch.setenv(VARIABLE, "0,1")
        with own_devices(1) as second:
            assert (first, second) == (["0"], ["1"])
        monkeypatch.setenv("SLURM_JOB_ID", "2")
        monkeypatch.setenv(VARIABLE, "0,1")
        with own_devices(1) as elsewhere:
            assert elsewhere == ["0"]
