"""One GPU per job on a machine that jobs share: how many there are, and a lock on the one that a job has.

Snakemake counts GPUs and does not say which one a job has. Imported by the profile `gpu`: standard library only.
"""

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

VARIABLE = "CUDA_VISIBLE_DEVICES"
POLL_SECONDS = 0.5


def visible_devices() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; where it is not set, all of the machine.

    Nothing is opened or initialised for that: Linux has a file /dev/nvidiaN for each.
    """
    named = os.environ.get(VARIABLE)
    if named is not None:
        devices = [name.strip() for name in named.split(",") if name.strip()]
        # CUDA ignores what follows an entry that is no device; -1 is how people ask for none.
        return devices[: devices.index("-1")] if "-1" in devices else devices
    files = [path for path in Path("/dev").glob("nvidia*") if path.name.removeprefix("nvidia").isdecimal()]
    # CUDA counts from zero, also where a container is given the second device alone.
    return [str(number) for number in range(len(files))]


def device_count() -> int:
    """How many GPUs jobs on this machine may use at one time."""
    return len(visible_devices())


@contextmanager
def own_device(wanted: str) -> Iterator[str | None]:
    """Hold one GPU while the block runs, with CUDA_VISIBLE_DEVICES naming it alone; yields its name.

    `wanted` is the device of a study: with "cpu", and on a machine without a GPU, nothing happens and None is yielded.
    Where all are taken the block waits, and says so. Comes before the first use of CUDA in this process, which reads
    the variable once. The lock ends with the process, however that ends.
    """
    devices = visible_devices()
    if wanted == "cpu" or not devices:
        yield None
        return
    before = os.environ.get(VARIABLE)
    device, lock = _wait_for_one(devices)
    with lock:
        os.environ[VARIABLE] = device
        try:
            yield device
        finally:
            os.environ.pop(VARIABLE)
            if before is not None:
                os.environ[VARIABLE] = before


def _wait_for_one(devices: Sequence[str]) -> tuple[str, IO[str]]:
    """A free device and the open file that locks it."""
    folder = _lock_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    taken = _free_one(devices, folder)
    if taken is None:
        print(f"all GPUs ({', '.join(devices)}) are taken by other jobs: waiting for one", file=sys.stderr)
    while taken is None:
        time.sleep(POLL_SECONDS)
        taken = _free_one(devices, folder)
    return taken


def _free_one(devices: Sequence[str], folder: Path) -> tuple[str, IO[str]] | None:
    for device in devices:
        file = (folder / device.replace("/", "-")).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return device, file
    return None


def _lock_folder() -> Path:
    """Where the locks are. Slurm hands out devices itself and numbers them anew in each of its jobs: two of its jobs
    share nothing, and what runs inside one allocation does."""
    allocation = os.environ.get("SLURM_JOB_ID", "machine")
    return Path(tempfile.gettempdir()) / f"headwise-gpus-{os.getuid()}" / allocation
