"""One GPU per job on a machine that jobs share: how many there are, and a lock on the one that a job has.

Snakemake counts GPUs and does not say which one a job has. Imported by the profile `gpu`: nothing heavy.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

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
def own_devices(count: int) -> Iterator[list[str]]:
    """Hold `count` GPUs while the block runs, with CUDA_VISIBLE_DEVICES naming them alone; yields their names.

    With 0 it names none: a job that asked for no GPU leaves those there are to others. Where the machine has fewer than
    `count`, it is all of them. Where too few are free the block waits, and says so. Comes before the first use of CUDA
    in this process, which reads the variable once. The locks end with the process, however that ends.
    """
    devices = visible_devices()
    before = os.environ.get(VARIABLE)
    count = min(count, len(devices))
    locks = _wait_for(count, devices) if count else {}
    with ExitStack() as held:
        for lock in locks.values():
            held.callback(lock.release)
        os.environ[VARIABLE] = ",".join(locks)
        try:
            yield list(locks)
        finally:
            os.environ.pop(VARIABLE)
            if before is not None:
                os.environ[VARIABLE] = before


def _wait_for(count: int, devices: Sequence[str]) -> dict[str, FileLock]:
    """Free devices, each with its lock."""
    folder = _lock_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    locks = _lock_free_ones(count, devices, folder)
    if not locks:
        print(f"too few of the GPUs ({', '.join(devices)}) are free: waiting for {count}", file=sys.stderr)
    while not locks:
        time.sleep(POLL_SECONDS)
        locks = _lock_free_ones(count, devices, folder)
    return locks


def _lock_free_ones(count: int, devices: Sequence[str], folder: Path) -> dict[str, FileLock]:
    """All `count` at once or none: two jobs that each held a part would wait for each other."""
    locks: dict[str, FileLock] = {}
    for device in devices:
        if len(locks) == count:
            break
        lock = FileLock(folder / device.replace("/", "-"))
        with suppress(Timeout):
            lock.acquire(blocking=False)
            locks[device] = lock
    if len(locks) < count:
        for lock in locks.values():
            lock.release()
        return {}
    return locks


def _lock_folder() -> Path:
    """Where the locks are. Slurm hands out devices itself and numbers them anew in each of its jobs: two of its jobs
    share nothing, and what runs inside one allocation does."""
    allocation = os.environ.get("SLURM_JOB_ID", "machine")
    return Path(tempfile.gettempdir()) / f"headwise-gpus-{os.getuid()}" / allocation
