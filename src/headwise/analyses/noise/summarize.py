"""The tables of noise, duplicated heads and the probe, from what single refits left behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from headwise.analyses.noise.noise_rows import (
    contrast_rows,
    duplication_rows,
    per_unit,
    read_refits,
    response_rows,
    sensitivity_rows,
    slope_rows,
)
from headwise.analyses.noise.probe_rows import (
    discrimination_rows,
    probe_rows,
    selection_rows,
    specialization_response_rows,
)
from headwise.runtime.parquet import read_metadata, table_of, write_table
from headwise.study.comparison import Comparison
from headwise.study.robustness import Probe


@dataclass(frozen=True)
class PerturbationFiles:
    """Tables of every refit of every base that was perturbed, as `experiment.Outputs` has them."""

    losses: Sequence[Path]
    specialization: Sequence[Path]
    generated: Sequence[Path]
    duplication: Sequence[Path]


@dataclass(frozen=True)
class PerturbationSettings:
    """bases: of each model, None for a base. reference: the base that others are contrasted with.

    primary: the estimator that confirmatory tests use.
    """

    bases: Mapping[str, str | None]
    reference: str
    primary: str
    probe: Probe | None
    comparison: Comparison


def summarize_perturbations(
    inputs: PerturbationFiles, settings: PerturbationSettings, outputs: Mapping[str, Path]
) -> None:
    """Write every table of `perturbation_tables` to the path that `outputs` has for it."""
    shared = shared_metadata(inputs.losses)
    for name, table in perturbation_tables(inputs, settings).items():
        write_table(table, outputs[name], shared)


def perturbation_tables(files: PerturbationFiles, settings: PerturbationSettings) -> dict[str, pd.DataFrame]:
    """Tables of noise, duplicated heads and the probe, by name; without rows where not measured."""
    comparison = settings.comparison
    losses, responses = read_refits(files.losses), read_refits(files.specialization)
    duplicated, generated = read_refits(files.duplication), read_refits(files.generated)
    units = per_unit(losses)
    probe = settings.probe
    declared = (probe.site, probe.scale, probe.region, probe.sigma) if probe else None
    noise = specialization_response_rows(responses)
    probed = probe_rows(responses, settings.bases)
    return {
        "noise_response": table_of(response_rows(units, comparison.level)),
        "noise_sensitivity": table_of(sensitivity_rows(units, comparison.level)),
        "noise_contrasts": table_of(contrast_rows(units, settings.reference, comparison)),
        "noise_specialization": noise,
        "key_value_duplication": table_of(duplication_rows(losses, responses, duplicated.drop(columns=["unit"]))),
        "generated_text": table_of(slope_rows(generated)),
        "probe": probed,
        "probe_discrimination": table_of(discrimination_rows(probed, comparison)),
        "probe_selection": table_of(selection_rows(noise, declared, settings.primary, comparison.level)),
    }


def shared_metadata(paths: Sequence[Path]) -> dict[str, Any]:
    """What the metadata of the first of these files says about all of them: study, prompts, corpus."""
    metadata = read_metadata(paths[0])
    return {key: metadata.get(key) for key in ("study", "prompts_digest", "corpus_digest")}
