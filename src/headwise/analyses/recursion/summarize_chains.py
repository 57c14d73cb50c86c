"""From chains of generations to tables: what each generation was like, and how long chains last."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwise.analyses.recursion.degradation import onset
from headwise.analyses.recursion.rows import ArmDifference, RecursionDuration, RecursionSurvival, Unit
from headwise.analyses.recursion.settings import Recursion
from headwise.runtime.parquet import read_metadata
from headwise.statistics.generators import generator_for
from headwise.statistics.intervals import t_interval, welch_interval
from headwise.statistics.permutation import sign_flip, two_sample
from headwise.statistics.procedures import Procedure
from headwise.statistics.result import finite_or_none, joined
from headwise.statistics.survival import kaplan_meier, restricted_mean
from headwise.study.comparison import Comparison
from headwise.tables.files import read_rows
from headwise.tables.row import Row

MEASURES = ("tokens", "distinct_1", "distinct_2", "longest_repeated_span", "repeated_share", "similarity", "nll_nats")
SHARED_MODEL = "chains of one refit are not independent: the interval is too narrow"


def read_arms(row: type[Row], paths: Sequence[Path]) -> pd.DataFrame:
    """Rows of one class of all arms and seeds, with columns `arm` and `seed`."""
    parts = []
    for path in paths:
        metadata = read_metadata(path)
        parts.append(read_rows(row, path).assign(arm=metadata["arm"], seed=metadata["seed"]))
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


def survival_rows(times: pd.DataFrame, settings: Recursion, level: float) -> Iterator[RecursionSurvival]:
    """Kaplan–Meier curves per arm (seed null) and per arm and seed: a row per step, from generation 0 to the last that
    a chain was followed to."""
    horizon = last_onset(settings)
    for arm, seed, rows in _groups(times):
        curve = kaplan_meier(rows["generation"], rows["happened"], level)
        step = RecursionSurvival(
            arm=arm,
            seed=seed,
            chains=curve.n,
            generation=0,
            survival=1.0,
            at_risk=curve.n,
            events=0,
            reason=joined(curve.reason, SHARED_MODEL if seed is None else None),
        )
        yield step
        for place, time in enumerate(curve.times):
            step = replace(
                step,
                generation=int(time),
                survival=float(curve.survival[place]),
                ci_low=finite_or_none(curve.low[place]),
                ci_high=finite_or_none(curve.high[place]),
                at_risk=int(curve.at_risk[place]),
                events=int(curve.events[place]),
            )
            yield step
        followed = horizon if step.survival == 0 else int(min(horizon, curve.followed))
        if step.generation < followed:
            at_risk = int((rows["generation"] >= followed).sum())
            yield replace(step, generation=followed, at_risk=at_risk, events=0)


def duration_rows(times: pd.DataFrame, settings: Recursion, comparison: Comparison) -> Iterator[RecursionDuration]:
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
        chains: dict[str, Any] = {
            "arm": arm,
            "seed": seed,
            "horizon": horizon,
            "chains": len(rows),
            "degraded_chains": int(rows["happened"].sum()),
            "ended_chains": int((rows["ended"] & ~rows["happened"]).sum()),
        }
        if seed is not None:
            own = restricted_mean(rows["generation"], rows["happened"], horizon, comparison.level)
            yield RecursionDuration(
                **chains,
                mean_generations=own.estimate,
                ci_low=own.low,
                ci_high=own.high,
                n=own.n,
                unit=Unit.CHAIN,
                reason=own.reason,
            )
            continue
        over = t_interval(list(means[arm].values()), comparison.level)
        nothing = "no chain degraded: nothing varies" if not rows["happened"].any() else None
        lost = sum(np.isnan(mean) for mean in means[arm].values())
        unfollowed = f"refits of which no chain could be followed to generation {horizon}, left out: {lost}"
        row = RecursionDuration(
            **chains,
            mean_generations=over.estimate,
            ci_low=None if nothing else over.low,
            ci_high=None if nothing else over.high,
            n=over.n,
            unit=Unit.REFIT,
            reason=joined(nothing or over.reason, unfollowed if lost else None),
        )
        if arm != first and first in means:
            difference = arm_difference(means[arm], means[first], generator_for("recursion", arm, first), comparison)
            row = replace(row, reference=first, **asdict(difference))
        yield row


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
        procedure = Procedure.REFITS
        test, interval = sign_flip(differences, rng, settings.resamples), t_interval(differences, settings.level)
    else:
        procedure = Procedure.TWO_SAMPLES
        samples = list(means.values()), list(reference.values())
        test, interval = two_sample(*samples, rng, settings.resamples), welch_interval(*samples, settings.level)
    return ArmDifference(
        difference=test.estimate,
        difference_low=interval.low,
        difference_high=interval.high,
        p=test.p,
        p_attainable=test.p_attainable,
        procedure=procedure,
        test=f"{test.method}; interval: {interval.method}",
    )


def last_onset(settings: Recursion) -> int:
    """The last generation at which a run of degraded ones can begin: how far chains are followed."""
    return settings.generations - settings.degradation.consecutive + 1


def _groups(times: pd.DataFrame) -> Iterator[tuple[str, int | None, pd.DataFrame]]:
    for arm, rows in times.groupby("arm", sort=False):
        yield str(arm), None, rows
        for seed, own in rows.groupby("seed", sort=True):
            yield str(arm), int(str(seed)), own
