"""The tables of noise, duplicated heads and the probe, from what single refits left behind."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from headwise.analyses.noise.rows import (
    GeneratedText,
    GeneratedTextSlope,
    KeyValueDuplication,
    LossUnderNoise,
    NoiseContrast,
    NoiseResponse,
    NoiseSensitivity,
    NoiseSharing,
    NoiseSpecialization,
    ProbeDiscrimination,
    ProbeResponse,
    ProbeSelection,
    SpecializationUnderNoise,
    Twin,
)
from headwise.analyses.noise.settings import Probe
from headwise.analyses.noise.summarize_losses import (
    contrast_rows,
    duplication_rows,
    per_unit,
    read_refits,
    response_rows,
    sensitivity_rows,
    sharing_rows,
    slope_rows,
)
from headwise.analyses.noise.summarize_responses import (
    discrimination_rows,
    probe_rows,
    selection_rows,
    specialization_response_rows,
)
from headwise.runtime.parquet import shared_metadata
from headwise.study.comparison import Comparison
from headwise.tables.files import write_rows
from headwise.tables.row import Row


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
    """Write the tables of noise, duplicated heads and the probe; those without rows where not measured."""
    shared = shared_metadata(inputs.losses[0])
    for row, rows in perturbation_rows(inputs, settings):
        write_rows(row, rows, outputs[row.table], shared)


def perturbation_rows(
    files: PerturbationFiles, settings: PerturbationSettings
) -> Iterator[tuple[type[Row], pd.DataFrame | Iterable[Row]]]:
    """The rows of each finished table."""
    level, comparison, probe = settings.comparison.level, settings.comparison, settings.probe
    losses = read_refits(LossUnderNoise, files.losses)
    responses = read_refits(SpecializationUnderNoise, files.specialization)
    units = per_unit(losses)
    yield NoiseResponse, response_rows(units, level)
    yield NoiseSensitivity, sensitivity_rows(units, level)
    yield NoiseContrast, contrast_rows(units, settings.reference, comparison)
    yield NoiseSharing, sharing_rows(units, level)
    noise = specialization_response_rows(responses)
    yield NoiseSpecialization, noise
    twins = read_refits(Twin, files.duplication).drop(columns=["unit"])
    yield KeyValueDuplication, duplication_rows(losses, responses, twins)
    yield GeneratedTextSlope, slope_rows(read_refits(GeneratedText, files.generated))
    probed = probe_rows(responses, settings.bases)
    yield ProbeResponse, probed
    yield ProbeDiscrimination, discrimination_rows(probed, comparison)
    declared = (probe.site, probe.scale, probe.region, probe.sigma) if probe else None
    yield ProbeSelection, selection_rows(noise, declared, settings.primary, level)
