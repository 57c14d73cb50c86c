"""Faults at a chosen moment: Python imports this at its start in every job, since its folder is on PYTHONPATH.

The folder FAULTS holds orders as files. `hold`, with the name of an output in it: the first process that is about to
give a file that name writes its Slurm job number into `held` and waits until `hold` is gone. `hog`, with a number of
MB: each process that is about to finish a summary takes so much memory first.
"""

import os
import time
from pathlib import Path

FAULTS = Path(os.environ.get("FAULTS", "/nonexistent"))
rename = os.replace


def rename_with_faults(source, target, **options):  # type: ignore[no-untyped-def]
    order = FAULTS / "hog"
    if order.exists() and str(target).endswith("summary.parquet"):
        memory = bytearray(int(order.read_text()) * 10**6)
        memory[::4096] = b"x" * len(memory[::4096])
        time.sleep(4)
    order = FAULTS / "hold"
    if order.exists() and not (FAULTS / "held").exists() and str(target).endswith(order.read_text()):
        (FAULTS / "held").write_text(os.environ.get("SLURM_JOB_ID", "none"))
        while order.exists():
            time.sleep(0.1)
    return rename(source, target, **options)


os.replace = rename_with_faults
