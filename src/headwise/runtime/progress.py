"""Progress of long work: a bar for people, plain lines now and then for log files."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

SECONDS_BETWEEN_LINES = 10.0

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    """Yield the items while showing on stderr how many are done, of `total` if that is known."""
    if sys.stderr.isatty():
        yield from rich_track(items, description, total, console=Console(stderr=True), transient=True)
        return
    last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last > SECONDS_BETWEEN_LINES or done == total:
            last = time.monotonic()
            print(f"{description}: {done}" + (f" of {total}" if total else ""), file=sys.stderr, flush=True)


@contextmanager
def no_bars_in_logs() -> Iterator[None]:
    """Within the block, transformers shows its own progress bars to people only and fills no log file with them."""
    from transformers.utils import logging

    if sys.stderr.isatty() or not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()
