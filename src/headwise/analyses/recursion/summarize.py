"""The tables of recursive generation, from what single arms left behind."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from headwise.analyses.noise.summarize import shared_metadata
from headwise.analyses.recursion.rows import (
    duration_rows,
    generation_rows,
    onsets,
    read_arms,
    survival_rows,
)
from headwise.runtime.parquet import table_of, write_table
from headwise.study.comparison import Comparison
from headwise.study.robustness import Recursion


def summarize_recursion(
    generations: Sequence[Path],
    specialization: Sequence[Path],
    settings: Recursion,
    comparison: Comparison,
    outputs: Mapping[str, Path],
) -> None:
    """Write the tables of recursive generation: generations, estimators, survival curves and durations."""
    chains = read_arms(generations)
    times = onsets(chains, settings)
    found = {
        "recursion_generations": generation_rows(chains),
        "recursion_specialization": read_arms(specialization),
        "recursion_survival": table_of(survival_rows(times, settings, comparison.level)),
        "recursion_durations": table_of(duration_rows(times, settings, comparison)),
    }
    for name, table in found.items():
        write_table(table, outputs[name], shared_metadata(generations))
