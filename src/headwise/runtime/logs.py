"""Where a workflow job's output goes: everything into its log file, an error's sentence also to the terminal."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path


@contextmanager
def logged(path: str | Path) -> Iterator[None]:
    """Send what the block prints to the file at `path`.

    An exception goes to the log with its traceback and to the terminal as one line, and ends the process with
    exit code 1.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names of files may hold bytes that are no UTF-8.
    with path.open("w", encoding="utf-8", errors="backslashreplace", buffering=1) as log:
        try:
            with redirect_stdout(log), redirect_stderr(log):
                yield
        except Exception as error:
            traceback.print_exc(file=log)
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            raise SystemExit(1) from error
