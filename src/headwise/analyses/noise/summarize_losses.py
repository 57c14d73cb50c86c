"""From the losses of single refits to tables: response per dose, sensitivity, contrasts, what duplication changed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwise.analyses.noise.rows import (
    Experiment,
    GeneratedTextSlope,
    Heads,
    KeyValueDuplication,
    Kind,
    NoiseContrast,
    NoiseResponse,
    NoiseSensitivity,
    NoiseSharing,
    Unit,
)
from headwise.analyses.noise.sensitivity import area, contrast, slope
from headwise.analyses.noise.settings import Region, Scale, Site
from headwise.runtime.parquet import read_metadata
from headwise.statistics.generators import generator_for
from headwise.statistics.intervals import t_interval
from headwise.statistics.result import finite_or_none, joined
from headwise.study.comparison import Comparison
from headwise.tables.files import read_rows
from headwise.tables.row import Row

CELL = ["site", "scale", "region"]
MODEL = ["model", "heads"]
CHOICES: dict[str, type[StrEnum]] = {"heads": Heads, "site": Site, "scale": Scale, "region": Region}


def read_refits(row: type[Row], paths: Sequence[Path]) -> pd.DataFrame:
    """The rows of one class of all refits, with a column `seed`, and `unit`: what varies between rows of a model.

    Refits of different weights are units themselves. Where all seeds of a model have the same weights, what varies is
    the noise: each draw of each seed is a unit.
    """
    parts = []
    digests: dict[str, list[str]] = {}
    for path in paths:
        metadata = read_metadata(path)
        parts.append(read_rows(row, path).assign(seed=metadata["seed"]))
        for model, digest in metadata["weights_digests"].items():
            digests.setdefault(model, []).append(digest)
    table = pd.concat(parts, ignore_index=True)
    if unknown := sorted(set(table["model"]) - set(digests)):
        raise ValueError(f"{paths[0]} and its like name no weights of model '{unknown[0]}': perturb the models again")
    units = {model: Unit.REFIT if len(set(found)) > 1 else Unit.DRAW for model, found in digests.items()}
    return table.assign(unit=table["model"].map(units))


def per_unit(losses: pd.DataFrame) -> pd.DataFrame:
    """Change of the loss per unit and dose: the mean over draws where the unit is a refit; NaN where any draw has none.

    Columns: model, heads, site, scale, region, sigma, unit, number (of the unit), draws, delta_nll_nats, undefined.
    """
    seeds = losses["seed"].rank(method="dense")
    draws = (losses["draw"] * losses["seed"].nunique() + seeds).astype("int64")
    number = losses["seed"].where(losses["unit"] == Unit.REFIT, draws).astype("int64")
    rows = losses.assign(number=number, delta_nll_nats=losses["delta_nll_nats"].astype("float64"))
    grouped = rows.groupby([*MODEL, *CELL, "sigma", "unit", "number"], sort=False)["delta_nll_nats"]
    found = pd.DataFrame({"draws": grouped.size(), "defined": grouped.count(), "delta_nll_nats": grouped.mean()})
    found["delta_nll_nats"] = found["delta_nll_nats"].where(found["draws"] == found["defined"])
    return found.assign(undefined=found["draws"] - found["defined"]).drop(columns="defined").reset_index()


def response_rows(units: pd.DataFrame, level: float) -> Iterator[NoiseResponse]:
    """Mean change of the loss at each dose, with Student's interval over units."""
    for key, rows in units.groupby([*MODEL, *CELL, "sigma"], sort=False):
        interval = t_interval(rows["delta_nll_nats"], level)
        undefined = int(rows["undefined"].sum())
        yield NoiseResponse(
            **_columns([*MODEL, *CELL, "sigma"], key),
            delta_nll_nats=interval.estimate if not undefined else None,
            ci_low=interval.low if not undefined else None,
            ci_high=interval.high if not undefined else None,
            n=len(rows),
            unit=Unit(rows["unit"].iloc[0]),
            undefined_draws=undefined,
            reason=joined(f"{undefined} draws have no finite loss" if undefined else None, interval.reason),
        )


def areas(units: pd.DataFrame) -> dict[tuple[str, ...], dict[int, float]]:
    """Area under the change of the loss of each unit, by (model, heads, site, scale, region)."""
    found: dict[tuple[str, ...], dict[int, float]] = {}
    for cell, rows in units.groupby([*MODEL, *CELL], sort=False):
        by_unit = rows.groupby("number", sort=False)
        found[tuple(map(str, cell))] = {
            int(str(number)): area(own["sigma"].tolist(), own["delta_nll_nats"].tolist()) for number, own in by_unit
        }
    return found


def sensitivity_rows(units: pd.DataFrame, level: float) -> Iterator[NoiseSensitivity]:
    """Mean area of each model and cell, with Student's interval over units."""
    kind = units.drop_duplicates("model").set_index("model")["unit"]
    for key, values in areas(units).items():
        interval = t_interval(list(values.values()), level)
        yield NoiseSensitivity(
            **_columns([*MODEL, *CELL], key),
            area=interval.estimate,
            ci_low=interval.low,
            ci_high=interval.high,
            n=interval.n,
            unit=Unit(kind[key[0]]),
            reason=interval.reason,
        )


def contrast_rows(units: pd.DataFrame, reference: str, settings: Comparison) -> Iterator[NoiseContrast]:
    """Every model against the reference, and every model with duplicated heads against itself as made."""
    found = areas(units)
    for key, values in found.items():
        model, heads, *cell = key
        if heads == Heads.DUPLICATED and Site(cell[0]).is_shared:
            continue  # other draws: see `sharing_rows`
        if heads == Heads.DUPLICATED:
            kind, against = Kind.DUPLICATION, (model, Heads.AS_MADE, *cell)
        elif model != reference:
            kind, against = Kind.ARCHITECTURE, (reference, Heads.AS_MADE, *cell)
        else:
            continue
        if against not in found:
            continue
        rng = generator_for("noise contrast", *key, against[0])
        result = contrast(values, found[against], rng, settings.resamples, settings.level)
        yield NoiseContrast(kind=kind, group=model, reference=against[0], **_columns(CELL, cell), **asdict(result))


def sharing_rows(units: pd.DataFrame, level: float) -> Iterator[NoiseSharing]:
    """Noise in keys or values that heads share over noise in a copy for each, refit by refit, with Student's interval.

    Both are of one function, and a refit is its own control: the interval is that of ln of its ratio of areas.
    """
    found = areas(units)
    for (model, heads, *cell), shared in found.items():
        independent = found.get((model, Heads.DUPLICATED, *cell))
        if heads != Heads.AS_MADE or independent is None or not Site(cell[0]).is_shared:
            continue
        pairs = [(area, independent[unit]) for unit, area in shared.items() if unit in independent]
        positive = [pair for pair in pairs if min(pair) > 0]
        interval = t_interval([np.log(one / other) for one, other in positive], level)
        left_out = len(pairs) - len(positive)
        why = f"refits whose loss does not rise, left out: {left_out}" if left_out else None
        yield NoiseSharing(
            model=model,
            **_columns(CELL, cell),
            ratio=None if interval.estimate is None else float(np.exp(interval.estimate)),
            log_ratio=interval.estimate,
            log_low=interval.low,
            log_high=interval.high,
            n=interval.n,
            method=f"{interval.method} of ln of the ratio in each refit",
            reason=joined(why, interval.reason),
        )


def duplication_rows(
    losses: pd.DataFrame, specialization: pd.DataFrame, measured: pd.DataFrame
) -> Iterator[KeyValueDuplication]:
    """What duplicating heads changed, per model and seed: nothing but rounding, if it does what it should.

    measured: largest differences of logits and attention without noise. To these are added the largest absolute
    differences over all doses and draws of noise behind the heads: of the change of the loss, beside the largest
    change itself, and of the estimators under noise.
    """
    losses = losses[~losses["site"].isin([site.value for site in Site if site.is_shared])]
    for each in measured.to_dict("records"):
        own = {str(name): value for name, value in each.items()}
        same = losses[(losses["model"] == own["model"]) & (losses["seed"] == own["seed"])]
        under_noise = specialization[
            (specialization["model"] == own["model"])
            & (specialization["seed"] == own["seed"])
            & (specialization["experiment"] == Experiment.NOISE)
        ]
        dose = [*CELL, "sigma", "draw"]
        yield KeyValueDuplication(
            **own,
            largest_delta_nll_difference=_largest_difference(same, dose, "delta_nll_nats"),
            largest_delta_nll=finite_or_none(same["delta_nll_nats"].astype("float64").abs().max()),
            largest_specialization_difference=_largest_difference(under_noise, [*dose, "estimator"], "value"),
        )


def slope_rows(generated: pd.DataFrame) -> Iterator[GeneratedTextSlope]:
    """The published outcome: slope of mean perplexity on σ, per model, heads, seed and draw."""
    for key, rows in generated.groupby([*MODEL, "seed", "draw"], sort=False):
        scored = rows.assign(perplexity=rows["nll_nats"].astype("float64").map(np.exp))
        means = scored.groupby("sigma")["perplexity"].mean()
        silent = int(rows["nll_nats"].isna().sum())
        value = None if silent else slope(list(means.index), list(means))
        yield GeneratedTextSlope(
            **_columns([*MODEL, "seed", "draw"], key),
            slope=value,
            perplexity_smallest_dose=finite_or_none(means.iloc[0]),
            perplexity_largest_dose=finite_or_none(means.iloc[-1]),
            doses=len(means),
            reason=f"{silent} texts have no token or no finite probability" if silent else None,
        )


def _columns(names: Sequence[str], key: Iterable[Any]) -> dict[str, Any]:
    """The cells of a row that a key of groups has, by column."""
    return {name: CHOICES[name](cell) if name in CHOICES else cell for name, cell in zip(names, key, strict=True)}


def _largest_difference(rows: pd.DataFrame, key: list[str], column: str) -> float | None:
    """Largest absolute difference between a model with duplicated heads and as made, row by row."""
    wide = rows.assign(number=rows[column].astype("float64")).pivot(index=key, columns="heads", values="number")
    return finite_or_none((wide[Heads.DUPLICATED] - wide[Heads.AS_MADE]).abs().max()) if len(wide) else None
