"""From chains of generations to tables: what each generation was like, and how long chains last."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from headwise.provenance import read_metadata
from headwise.robustness.degradation import onset
from headwise.statistics.generators import generator_for
from headwise.statistics.result import finite_or_none, joined
from headwise.statistics.survival import kaplan_meier, restricted_mean, restricted_mean_difference
from headwise.study.comparison import Comparison
from headwise.study.robustness import Recursion

MEASURES = ("tokens", "distinct_1", "distinct_2", "longest_repeated_span", "repeated_share", "similarity", "nll_nats")
SHARED_MODEL = "chains of one refit are not independent: the interval is too narrow"


def read_arms(paths: Sequence[Path]) -> pd.DataFrame:
    """Rows of all arms and seeds with columns `arm` and `seed`."""
    parts = []
    for path in paths:
        metadata = read_metadata(path)
        parts.append(pd.read_parquet(path).assign(arm=metadata["arm"], seed=metadata["seed"]))
    return pd.concat(parts, ignore_index=True)


def generation_rows(chains: pd.DataFrame) -> pd.DataFrame:
    """Means over the chains of an arm, seed and generation; a chain without a value leaves its count, not its mean.

    Columns: arm, seed, generation, chains, the measures of `MEASURES`, degraded (share of chains), undefined (values
    that chains did not have).
    """
    numbers = chains.assign(**{name: chains[name].astype("float64") for name in (*MEASURES, "degraded")})
    grouped = numbers.groupby(["arm", "seed", "generation"], sort=False)
    undefined = numbers[list(MEASURES)].isna().sum(axis=1).groupby([numbers[name] for name in grouped.keys]).sum()
    means = grouped[[*MEASURES, "degraded"]].mean()
    return means.assign(chains=grouped.size(), undefined=undefined).reset_index()


def onsets(chains: pd.DataFrame, settings: Recursion) -> pd.DataFrame:
    """When each chain degrades: columns arm, seed, prompt, generation, happened."""
    rows = []
    for (arm, seed, prompt), chain in chains.sort_values("generation").groupby(["arm", "seed", "prompt"], sort=False):
        states = [bool(state) for state in chain["degraded"]]
        generation, happened = onset(states, settings.generations, settings.degradation.consecutive)
        rows.append({"arm": arm, "seed": seed, "prompt": prompt, "generation": generation, "happened": happened})
    return pd.DataFrame(rows)


def survival_rows(times: pd.DataFrame, settings: Recursion, level: float) -> Iterator[dict[str, Any]]:
    """Kaplan–Meier curves per arm (seed null) and per arm and seed: a row per step, from generation 0 to the last."""
    horizon = last_onset(settings)
    for arm, seed, rows in _groups(times):
        curve = kaplan_meier(rows["generation"], rows["happened"], level)
        shared = {"arm": arm, "seed": seed, "chains": curve.n, "reason": joined(curve.reason, SHARED_MODEL)}
        last: dict[str, Any] = {"generation": 0, "survival": 1.0, "ci_low": None, "ci_high": None}
        yield {**shared, **last, "at_risk": curve.n, "events": 0}
        for place, time in enumerate(curve.times):
            ends = {"ci_low": finite_or_none(curve.low[place]), "ci_high": finite_or_none(curve.high[place])}
            last = {"generation": int(time), "survival": float(curve.survival[place]), **ends}
            yield {**shared, **last, "at_risk": int(curve.at_risk[place]), "events": int(curve.events[place])}
        if last["generation"] < horizon:
            at_risk = int((rows["generation"] >= horizon).sum())
            yield {**shared, **last, "generation": horizon, "at_risk": at_risk, "events": 0}


def duration_rows(times: pd.DataFrame, settings: Recursion, comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Restricted mean of the generations until onset, per arm and per arm and seed; arms also against the first one."""
    horizon = last_onset(settings)
    first = times[times["arm"] == settings.arms[0].name]
    for arm, seed, rows in _groups(times):
        mean = restricted_mean(rows["generation"], rows["happened"], horizon, comparison.level)
        row = {
            "arm": arm,
            "seed": seed,
            "mean_generations": mean.estimate,
            "ci_low": mean.low,
            "ci_high": mean.high,
            "horizon": horizon,
            "chains": mean.n,
            "degraded_chains": int(rows["happened"].sum()),
            "reason": joined(mean.reason, SHARED_MODEL),
        }
        if seed is None and arm != settings.arms[0].name:
            rng = generator_for("recursion", arm, settings.arms[0].name)
            pair = [(each["generation"].to_numpy(), each["happened"].to_numpy()) for each in (rows, first)]
            difference = restricted_mean_difference(
                pair[0], pair[1], horizon, rng, comparison.resamples, comparison.level
            )
            row |= {
                "reference": settings.arms[0].name,
                "difference": difference.estimate,
                "difference_low": difference.low,
                "difference_high": difference.high,
                "p": difference.p,
                "p_attainable": difference.p_attainable,
                "test": difference.method,
            }
        yield row


def last_onset(settings: Recursion) -> int:
    """The last generation at which a run of degraded ones can begin: how far chains are followed."""
    return settings.generations - settings.degradation.consecutive + 1


def _groups(times: pd.DataFrame) -> Iterator[tuple[str, int | None, pd.DataFrame]]:
    for arm, rows in times.groupby("arm", sort=False):
        yield str(arm), None, rows
        for seed, own in rows.groupby("seed", sort=True):
            yield str(arm), int(str(seed)), own
