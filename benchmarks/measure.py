"""Wall time and peak memory of some work, in a process of its own that starts with everything imported (Linux)."""

import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """seconds: of wall time. processor_seconds: of processor time, which other processes do not lengthen.
    peak_bytes: the most resident memory; before_bytes: what the process started with."""

    seconds: float
    processor_seconds: float
    peak_bytes: int
    before_bytes: int


def processor_seconds(work: Callable[[], object]) -> float:
    """Processor time of some work in this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def cost_of(work: Callable[[], object]) -> Cost:
    """Run `work` in a fork of this process and measure it. Raises RuntimeError where it fails; its error is printed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        # Whatever happens, the fork must not go on with what its parent has to do.
        try:
            with open("/proc/self/clear_refs", "w") as reset:
                reset.write("5")  # the peak starts anew from here
            before, start, worked = _memory("VmRSS"), time.perf_counter(), time.process_time()
            work()
            measured = time.perf_counter() - start, time.process_time() - worked, _memory("VmHWM"), before
            os.write(write, json.dumps(measured).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as answer:
        measured = answer.read()
    os.waitpid(child, 0)
    if not measured:
        raise RuntimeError("the measured work failed: see the error above")
    return Cost(*json.loads(measured))


def _memory(field: str) -> int:
    with open("/proc/self/status") as status:
        found = re.search(rf"{field}:\s+(\d+) kB", status.read())
    assert found, "Linux tells this"
    return int(found[1]) * 1024
