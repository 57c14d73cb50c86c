"""Snakemake's logger for people: `--logger headwise`, which profiles/default sets.

snakemake-logger-plugin-rich 0.5.1 has bars per rule, and lacks what a run of hours is asked for: the models that it is
at, time left, how many warnings there were, a line per finished job where output is no terminal, the end of a failed
job's log without an option, and the command that repeats it; of a dry run it prints a table and no jobs.

What each record says is in `headwise.runtime.run_log`; here it is written, under a line on terminals that says where
the run stands. A dry run, --verbose and --debug-dag print what Snakemake prints by itself.
"""

import os
import sys
import time
from logging import LogRecord
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_interface_logger_plugins.base import LogHandlerBase

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class LogHandler(LogHandlerBase):
    """Writes to standard error, or where Snakemake's own handler does."""

    def __post_init__(self) -> None:
        # Every Snakemake imports this module, those that start jobs as well, and few use it.
        from rich.console import Console
        from snakemake.logging import ColorizingTextHandler

        from headwise.runtime.run_log import RunLog

        settings = self.common_settings
        stream = sys.stdout if settings.stdout else sys.stderr
        self._own = None
        if settings.dryrun or settings.verbose or settings.debug_dag:
            self._own = ColorizingTextHandler(nocolor=settings.nocolor, stream=stream)
        # Text only: brackets and numbers in messages are no markup.
        self._console = Console(
            file=stream, markup=False, highlight=False, emoji=False, soft_wrap=True, no_color=settings.nocolor
        )
        self._log = RunLog([program(sys.argv[0]), *arguments_without_targets(sys.argv[1:])])
        self._live: Live | None = None

    def emit(self, record: LogRecord) -> None:
        """Write what is said of a record."""
        try:
            if self._own:
                self._own.setFormatter(self.formatter)
                self._own.emit(record)
            elif lines := self._log.lines(record, time.monotonic()):
                self._console.print("\n".join(lines), style=STYLES.get(record.levelname))
            self._show()
        except BrokenPipeError:  # as of `snakemake -n | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._console.file.fileno())
        except Exception:
            self.handleError(record)

    def _show(self) -> None:
        """The line that says where the run stands, from its first job on."""
        if self._live is None and self._log.running and self._console.is_terminal:
            from rich.live import Live

            self._live = Live(get_renderable=self._status, console=self._console, transient=True, refresh_per_second=1)
            self._live.start()

    def _status(self) -> "Text":
        from rich.text import Text

        return Text(self._log.status(time.monotonic()), style="bold", no_wrap=True, overflow="ellipsis")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._log.started is not None and self._log.warnings:
            self._console.print(f"{self._log.warned()}, above.", style=STYLES["WARNING"])
            self._log.warnings = 0  # Snakemake may close its handlers more than once
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """Instead of Snakemake's own handler; its log file is written beside."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """No."""
        return False

    @property
    def has_filter(self) -> bool:
        """No: what --quiet leaves out, Snakemake's own filter leaves out."""
        return False

    @property
    def has_formatter(self) -> bool:
        """No: a dry run is printed by Snakemake's own."""
        return False

    @property
    def needs_rulegraph(self) -> bool:
        """No."""
        return False


def program(path: str) -> str:
    """How Snakemake was called."""
    return path if Path(path).name == "snakemake" else "snakemake"


def arguments_without_targets(arguments: list[str]) -> list[str]:
    """Snakemake's arguments, without the files and rules that it was asked for."""
    from snakemake.cli import get_argument_parser

    try:
        targets = set(get_argument_parser().parse_known_args(arguments)[0].targets)
    except SystemExit:  # not called as Snakemake is
        return arguments
    return [argument for argument in arguments if argument not in targets]
