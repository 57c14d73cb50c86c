"""From chains of generations to tables: what each generation was like, and how long chains last."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwise.analyses.recursion.degradation import onset
from headwise.runtime.parquet import read_metadata, read_table
from headwise.statistics.generators import generator_for
from headwise.statistics.intervals import t_interval, welch_interval
from headwise.statistics.permutation import sign_flip, two_sample
from headwise.statistics.result import finite_or_none, joined
from headwise.statistics.survival import kaplan_meier, restricted_mean
from headwise.study.comparison import Comparison
from headwise.study.robustness import Recursion

MEASURES = ("tokens", "distinct_1", "distinct_2", "longest_repeated_span", "repeated_share", "similarity", "nll_nats")
SHARED_MODEL = "chains of one refit are not independent: the interval is too narrow"


def read_arms(paths: Sequence[Path]) -> pd.DataFrame:
    """Rows of all arms and seeds with columns `arm` and `seed`."""
    parts = []
    for path in paths:
        metadata = read_metadata(path)
        parts.append(read_table(path).assign(arm=metadata["arm"], seed=metadata["seed"]))
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
    """When each chain degrades: columns arm, seed, prompt, generation, happened, ended (it wrote fewer generations than
    it was meant to)."""
    rows = []
    for (arm, seed, prompt), chain in chains.sort_values("generation", kind="stable").groupby(
        ["arm", "seed", "prompt"], sort=False
    ):
        states = [bool(state) for state in chain["degraded"].dropna()]
        generation, happened = onset(states, settings.generations, settings.degradation.consecutive)
        rows.append(
            {
                "arm": arm,
                "seed": seed,
                "prompt": prompt,
                "generation": generation,
                "happened": happened,
                "ended": len(states) < settings.generations,
            }
        )
    return pd.DataFrame(rows)


def survival_rows(times: pd.DataFrame, settings: Recursion, level: float) -> Iterator[dict[str, Any]]:
    """Kaplan–Meier curves per arm (seed null) and per arm and seed: a row per step, from generation 0 to the last that
    a chain was followed to."""
    horizon = last_onset(settings)
    for arm, seed, rows in _groups(times):
        curve = kaplan_meier(rows["generation"], rows["happened"], level)
        reason = joined(curve.reason, SHARED_MODEL if seed is None else None)
        shared = {"arm": arm, "seed": seed, "chains": curve.n, "reason": reason}
        last: dict[str, Any] = {"generation": 0, "survival": 1.0, "ci_low": None, "ci_high": None}
        yield {**shared, **last, "at_risk": curve.n, "events": 0}
        for place, time in enumerate(curve.times):
            ends = {"ci_low": finite_or_none(curve.low[place]), "ci_high": finite_or_none(curve.high[place])}
            last = {"generation": int(time), "survival": float(curve.survival[place]), **ends}
            yield {**shared, **last, "at_risk": int(curve.at_risk[place]), "events": int(curve.events[place])}
        followed = horizon if last["survival"] == 0 else int(min(horizon, curve.followed))
        if last["generation"] < followed:
            at_risk = int((rows["generation"] >= followed).sum())
            yield {**shared, **last, "generation": followed, "at_risk": at_risk, "events": 0}


def duration_rows(times: pd.DataFrame, settings: Recursion, comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Restricted mean of the generations until onset: per arm over its refits (seed null), and per arm and refit.

    Chains of one refit are alike, so that an arm has as many units as refits: its interval is Student's over the means
    of refits, and it is compared with the first arm by `arm_difference`.
    """
    horizon = last_onset(settings)
    means = {
        arm: refit_means(times[times["arm"] == arm], horizon, comparison.level) for arm in dict.fromkeys(times["arm"])
    }
    first = settings.arms[0].name
    for arm, seed, rows in _groups(times):
        shared = {"arm": arm, "seed": seed, "horizon": horizon, "chains": len(rows)}
        shared["degraded_chains"] = int(rows["happened"].sum())
        shared["ended_chains"] = int((rows["ended"] & ~rows["happened"]).sum())
        if seed is not None:
            own = restricted_mean(rows["generation"], rows["happened"], horizon, comparison.level)
            ends = {"ci_low": own.low, "ci_high": own.high}
            yield {
                **shared,
                "mean_generations": own.estimate,
                **ends,
                "n": own.n,
                "unit": "chain",
                "reason": own.reason,
            }
            continue
        over = t_interval(list(means[arm].values()), comparison.level)
        nothing = "no chain degraded: nothing varies" if not rows["happened"].any() else None
        row = {**shared, "mean_generations": over.estimate, "n": over.n, "unit": "refit"}
        row |= {"ci_low": None if nothing else over.low, "ci_high": None if nothing else over.high}
        lost = sum(np.isnan(mean) for mean in means[arm].values())
        row["reason"] = joined(
            nothing or over.reason,
            f"refits of which no chain could be followed to generation {horizon}, left out: {lost}" if lost else None,
        )
        if arm != first and first in means:
            rng = generator_for("recursion", arm, first)
            row |= {"reference": first, **asdict(arm_difference(means[arm], means[first], rng, comparison))}
        yield row


@dataclass(frozen=True)
class ArmDifference:
    """Mean generations until onset of an arm less those of another; None where undefined."""

    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p: float | None
    p_attainable: float | None
    test: str


def refit_means(times: pd.DataFrame, horizon: int, level: float) -> dict[int, float]:
    """Restricted mean of the generations until onset of each refit of an arm, by seed; NaN where it is undefined.

    Where all chains without onset were followed to the horizon it is their mean.
    """
    means = {}
    for seed, own in times.groupby("seed"):
        generations = own["generation"].clip(upper=horizon).astype("float64")
        if (own["happened"] | (generations >= horizon)).all():
            means[int(str(seed))] = float(generations.mean())
        else:
            mean = restricted_mean(own["generation"], own["happened"], horizon, level).estimate
            means[int(str(seed))] = np.nan if mean is None else mean
    return means


def arm_difference(
    means: Mapping[int, float], reference: Mapping[int, float], rng: np.random.Generator, settings: Comparison
) -> ArmDifference:
    """Compare arms with refits as units: in pairs of the same seed, since arms may share a model, where seeds agree."""
    if set(means) == set(reference):
        differences = [means[seed] - reference[seed] for seed in sorted(means)]
        test, interval = sign_flip(differences, rng, settings.resamples), t_interval(differences, settings.level)
    else:
        samples = list(means.values()), list(reference.values())
        test, interval = two_sample(*samples, rng, settings.resamples), welch_interval(*samples, settings.level)
    how = f"{test.method}; interval: {interval.method}"
    return ArmDifference(test.estimate, interval.low, interval.high, test.p, test.p_attainable, how)


def last_onset(settings: Recursion) -> int:
    """The last generation at which a run of degraded ones can begin: how far chains are followed."""
    return settings.generations - settings.degradation.consecutive + 1


def _groups(times: pd.DataFrame) -> Iterator[tuple[str, int | None, pd.DataFrame]]:
    for arm, rows in times.groupby("arm", sort=False):
        yield str(arm), None, rows
        for seed, own in rows.groupby("seed", sort=True):
            yield str(arm), int(str(seed)), own
