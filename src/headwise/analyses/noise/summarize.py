"""The tables of noise, duplicated heads and the probe, from what single refits left behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from headwise.analyses.noise.noise_rows import (
    ARCHITECTURE,
    AS_MADE,
    CELL,
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
from headwise.published.robustness import (
    CHANGE_BY_DUPLICATION,
    MEDIAN_OF_RATIOS,
    PUBLISHED,
    RATIO_OF_MEANS,
    RESPONSE,
    SLOPE,
    PublishedValue,
)
from headwise.runtime.provenance import read_metadata, table_of, write_table
from headwise.statistics.ratio import UNBOUNDED
from headwise.statistics.result import joined
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
    """Tables of noise, duplicated heads, the probe and published values, by name; without rows where not measured."""
    comparison = settings.comparison
    losses, responses = read_refits(files.losses), read_refits(files.specialization)
    duplicated, generated = read_refits(files.duplication), read_refits(files.generated)
    units = per_unit(losses)
    probe = settings.probe
    declared = (probe.site, probe.scale, probe.region, probe.sigma) if probe else None
    noise = specialization_response_rows(responses)
    probed = probe_rows(responses, settings.bases)
    found = {
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
    return found | {"published_robustness": published_table(found, settings)}


def published_table(found: Mapping[str, pd.DataFrame], settings: PerturbationSettings) -> pd.DataFrame:
    """Published values with their sources, and beside them what this study found of the same quantity."""
    rows = []
    for each in PUBLISHED:
        ours, subject, reason = _ours(each, found, settings)
        rows.append(
            {
                "experiment": each.experiment,
                "quantity": each.quantity,
                "subject": each.subject,
                "seed": each.seed,
                "published": each.value,
                "source": each.source,
                "ours": ours,
                "our_subject": subject,
                "reason": reason,
            }
        )
    return table_of(rows)


def _ours(
    each: PublishedValue, found: Mapping[str, pd.DataFrame], settings: PerturbationSettings
) -> tuple[float | None, str | None, str | None]:
    """The number beside a published one, of which models, and why there is none or what differs."""
    if each.quantity in (RATIO_OF_MEANS, MEDIAN_OF_RATIOS):
        column = "ratio_of_means" if each.quantity == RATIO_OF_MEANS else "median_of_ratios"
        return _our_ratio(found["noise_contrasts"], column)
    if each.quantity == CHANGE_BY_DUPLICATION:
        return _our_duplication(found["key_value_duplication"])
    if each.quantity == SLOPE and len(found["generated_text"]):
        rows = found["generated_text"]
        rows = rows[(rows["heads"] == AS_MADE) & (rows["model"] == settings.reference)]
        mean = rows["slope"].astype("float64").mean()
        return (None if pd.isna(mean) else float(mean)), settings.reference, "mean over refits and draws"
    if each.quantity == RESPONSE and len(found["probe"]):
        rows = found["probe"]
        rows = rows[(rows["estimator"] == "entropy_profile") & rows["base"].isna()]
        mean = rows["change_percent"].astype("float64").mean()
        return (None if pd.isna(mean) else float(mean)), "all bases", "mean over refits, in the one declared cell"
    return None, None, "not measured in this study"


def _our_ratio(contrasts: pd.DataFrame, column: str) -> tuple[float | None, str | None, str | None]:
    if contrasts.empty:
        return None, None, "not measured in this study"
    cell = dict(zip(CELL, ("attention_output", "absolute", "all"), strict=True))
    rows = contrasts[(contrasts["kind"] == ARCHITECTURE) & (contrasts["group"].str.contains("grouped"))]
    for name, value in cell.items():
        rows = rows[rows[name] == value]
    if rows.empty:
        return None, None, "no grouped-query model is contrasted at this site"
    row = rows.iloc[0]
    value = row[column]
    words = joined(
        "areas under the change of the loss, not slopes of perplexity",
        row["verdict"] if row["verdict"].startswith(UNBOUNDED) else None,
    )
    return (None if pd.isna(value) else float(value)), f"{row['group']} / {row['reference']}", words


def _our_duplication(duplication: pd.DataFrame) -> tuple[float | None, str | None, str | None]:
    if duplication.empty:
        return None, None, "not measured in this study"
    ratio = float(duplication["perplexity_ratio"].astype("float64").sub(1).abs().max()) + 1
    return ratio, ", ".join(dict.fromkeys(duplication["model"])), "farthest from 1 of all refits"


def shared_metadata(paths: Sequence[Path]) -> dict[str, Any]:
    """What the metadata of the first of these files says about all of them: study, prompts, corpus."""
    metadata = read_metadata(paths[0])
    return {key: metadata.get(key) for key in ("study", "prompts_digest", "corpus_digest")}
