"""What a machine has of what headwise needs, and what to do where something is missing."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

# Installation and the default study take less; a study of public models tells its own need (`headwise cost`).
LEAST_FREE_GB = 3
SLURM_SECONDS = 10


class State(StrEnum):
    """How a check ended."""

    GOOD = "good"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True)
class Check:
    """What was looked at, what was found, and what to do; a note stops nothing that is run on this machine alone."""

    what: str
    state: State
    found: str
    remedy: str = ""


def examine(folder: Path) -> Iterator[Check]:
    """All checks, for studies that are run in `folder`."""
    yield _python()
    yield from _packages()
    yield _devices()
    yield _disk("disk", folder)
    yield from _hub()
    yield _slurm()


def _python() -> Check:
    needed, found = metadata("headwise")["Requires-Python"], platform.python_version()
    state = State.GOOD if SpecifierSet(needed).contains(found, prereleases=True) else State.WRONG
    return Check("Python", state, found, f"install Python {needed}" if state == State.WRONG else "")


def _packages() -> Iterator[Check]:
    """Required packages that are missing or too old, or one line that there are none."""
    wrong = []
    for line in requires("headwise") or ():
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(needed.name)
        except PackageNotFoundError:
            wrong.append((str(needed), "not installed"))
            continue
        if not needed.specifier.contains(installed, prereleases=True):
            wrong.append((str(needed), f"version {installed}"))
    for name, found in wrong:
        yield Check(name, State.WRONG, found, f"{sys.executable} -m pip install --constraint constraints.txt '{name}'")
    if not wrong:
        shown = ", ".join(f"{name} {version(name)}" for name in ("snakemake", "torch", "transformers"))
        yield Check("packages", State.GOOD, shown)


def _devices() -> Check:
    """Processors, and a GPU that can be computed on; a GPU that torch does not see is told."""
    import torch

    cores = f"{os.cpu_count()} cores"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        try:
            torch.ones(8, device="cuda").sum().item()
        except RuntimeError as error:
            return Check("devices", State.WRONG, f"{cores}; {', '.join(names)}: {error}", "repair driver and CUDA")
        return Check("devices", State.GOOD, f"{cores}; {', '.join(names)}")
    if any(path.name.removeprefix("nvidia").isdecimal() for path in Path("/dev").glob("nvidia*")):
        build = f"torch {torch.__version__} sees none"
        return Check("devices", State.NOTE, f"{cores}; a GPU, but {build}", "install a CUDA build of torch")
    return Check("devices", State.GOOD, f"{cores}, no GPU (none is needed for the studies that train their models)")


def _disk(what: str, folder: Path) -> Check:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK):
        return Check(what, State.WRONG, f"{there} cannot be written to", "run in a folder of your own")
    free = shutil.disk_usage(there).free / 1e9
    state = State.GOOD if free >= LEAST_FREE_GB else State.WRONG
    return Check(
        what,
        state,
        f"{free:.0f} GB free at {there}",
        "free some; `headwise cost STUDY` tells how much" if state == State.WRONG else "",
    )


def _hub() -> Iterator[Check]:
    """The cache of hub models, and whether a token is there; never what it is."""
    from huggingface_hub import constants, get_token

    yield _disk("cache of models", Path(constants.HF_HUB_CACHE))
    if constants.HF_HUB_OFFLINE:
        yield Check("hub", State.NOTE, "HF_HUB_OFFLINE is set: nothing is fetched", "unset it to fetch models")
    elif get_token() is None:
        yield Check("hub", State.NOTE, "no token: public models alone", "hf auth login, for gated ones such as Llama")
    else:
        yield Check("hub", State.GOOD, "a token is there")


def _slurm() -> Check:
    if shutil.which("sinfo") is None:
        return Check("Slurm", State.NOTE, "not here", "none is needed on one machine; else log in to your cluster")
    try:
        command = ["sinfo", "--noheader", "--format=%P"]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=SLURM_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Check("Slurm", State.WRONG, f"sinfo did not answer in {SLURM_SECONDS} s", "ask who runs the cluster")
    if asked.returncode:
        said = asked.stderr.strip().splitlines() or ["sinfo failed"]
        return Check("Slurm", State.WRONG, said[-1], "ask who runs the cluster: its controller does not answer")
    partitions = [line.split()[0].rstrip("*") for line in asked.stdout.splitlines() if line.split()]
    return Check("Slurm", State.GOOD, f"partitions {', '.join(dict.fromkeys(partitions))}")
