"""The tables of recursive generation, from what single arms left behind."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from headwise.analyses.recursion.rows import (
    Generation,
    GenerationSpecialization,
    RecursionDuration,
    RecursionGeneration,
    RecursionSpecialization,
    RecursionSurvival,
)
from headwise.analyses.recursion.settings import Recursion
from headwise.analyses.recursion.summarize_chains import (
    duration_rows,
    generation_rows,
    onsets,
    read_arms,
    survival_rows,
)
from headwise.runtime.parquet import shared_metadata
from headwise.study.comparison import Comparison
from headwise.tables.files import write_rows


def summarize_recursion(
    generations: Sequence[Path],
    specialization: Sequence[Path],
    settings: Recursion,
    comparison: Comparison,
    outputs: Mapping[str, Path],
) -> None:
    """Write the tables of recursive generation: generations, estimators, survival curves and durations."""
    chains = read_arms(Generation, generations)
    times = onsets(chains, settings)
    shared = shared_metadata(generations[0])
    write_rows(RecursionGeneration, generation_rows(chains), outputs[RecursionGeneration.table], shared)
    estimators = read_arms(GenerationSpecialization, specialization)
    write_rows(RecursionSpecialization, estimators, outputs[RecursionSpecialization.table], shared)
    survival = survival_rows(times, settings, comparison.level)
    write_rows(RecursionSurvival, survival, outputs[RecursionSurvival.table], shared)
    durations = duration_rows(times, settings, comparison)
    write_rows(RecursionDuration, durations, outputs[RecursionDuration.table], shared)
