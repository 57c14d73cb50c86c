"""`--profile gpu` with pretended devices: never more GPU jobs than GPUs, each with its own; on CPUs without any."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

SNAKEFILE = """
rule all:
    input: expand("{number}.json", number=range(5))

rule measure:
    output: "{number}.json"
    resources: gpu=1
    shell: "{PYTHON} job.py {output} {resources.gpu}"
"""
JOB = """
import json, sys, time
from headwise.runtime.devices import own_devices
with own_devices(int(sys.argv[2])) as devices:
    start = time.time()
    time.sleep(1)
    json.dump([devices, start, time.time()], open(sys.argv[1], "w"))
"""


def run(folder: Path, root: Path, visible: str) -> dict[str, list[tuple[float, float]]]:
    """Run five jobs of a second that each want a GPU, on five cores; when each device was held."""
    (folder / "Snakefile").write_text(SNAKEFILE.replace("{PYTHON}", sys.executable))
    (folder / "job.py").write_text(JOB)
    command = [sys.executable, "-m", "snakemake", "--profile", root / "gpu", "--cores", "5"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": visible, "TMPDIR": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "waiting for" not in done.stderr, "Snakemake starts no job for which there is no device"
    held: dict[str, list[tuple[float, float]]] = {}
    for path in sorted(folder.glob("*.json")):
        devices, start, end = json.loads(path.read_text())
        held.setdefault(",".join(devices), []).append((start, end))
    return held


@pytest.mark.parametrize("devices", ["0,1", "3"])
def test_each_job_has_a_device_of_its_own(tmp_path: Path, root: Path, devices: str) -> None:
    held = run(tmp_path, root, devices)
    assert set(held) == set(devices.split(","))
    for times in held.values():
        assert all(end <= start for (_, end), (start, _) in pairwise(sorted(times)))


def test_without_a_gpu_jobs_run_on_all_cores(tmp_path: Path, root: Path) -> None:
    (times,) = run(tmp_path, root, "").values()
    assert len(times) == 5
    assert any(start < end for (_, end), (start, _) in pairwise(sorted(times))), "some run side by side"
