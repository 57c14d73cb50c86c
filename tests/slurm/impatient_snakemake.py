"""`snakemake` that looks at its jobs once a second; the plugin waits ten seconds longer after each look in vain."""

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

import headwise.runtime.watch

headwise.runtime.watch.SECONDS = 1
headwise.runtime.watch.PATIENCE = 20
Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, value: None)
main(sys.argv[1:])
