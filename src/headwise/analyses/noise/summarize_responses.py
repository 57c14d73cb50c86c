"""From the responses of single refits to tables: the probe, its discrimination, and the selection of the best cell."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd

from headwise.analyses.noise.probe import (
    ProbedPair,
    aligned_against_base,
    best_of_cells,
    reading,
    suppressed_against_others,
)
from headwise.analyses.noise.rows import Experiment, Heads, ProbeDiscrimination, ProbeSelection, Task
from headwise.statistics.generators import generator_for
from headwise.statistics.procedures import Procedure
from headwise.statistics.result import joined
from headwise.statistics.ties import difference
from headwise.statistics.values import left_out
from headwise.study.comparison import Comparison

CELL = ["site", "scale", "region", "sigma"]
SPLITS = 2000
NO_RESPONSE = "pairs of which a value or a response is undefined, left out: {}"
JUDGES = {Task.ALIGNED: aligned_against_base, Task.SUPPRESSED: suppressed_against_others}
SHARED_BASE = "refits of one base and its descendants are not independent: the interval is too narrow"


def specialization_response_rows(responses: pd.DataFrame) -> pd.DataFrame:
    """Response of every estimator per model, refit and dose of the noise experiment: the mean over draws.

    Null, with the reason, where any draw has none.
    """
    rows = responses[responses["experiment"] == Experiment.NOISE]
    return _over_draws(rows, ["model", "heads", "seed", *CELL, "estimator"])


def probe_rows(responses: pd.DataFrame, bases: Mapping[str, str | None]) -> pd.DataFrame:
    """Response to the declared dose per model, refit and estimator, with what the published thresholds call it.

    bases: of each model; None for a base.
    """
    rows = _over_draws(responses[responses["experiment"] == Experiment.PROBE], ["model", "seed", *CELL, "estimator"])
    rows["base"] = rows["model"].map(bases)
    rows["reading"] = rows["change_percent"].map(reading, na_action="ignore")
    return rows


def discrimination_rows(probed: pd.DataFrame, settings: Comparison) -> Iterator[ProbeDiscrimination]:
    """ROC areas of each estimator's response, over pairs of an aligned model and its base in one refit."""
    for name, rows in probed.groupby("estimator", sort=False):
        pairs, lost = _pairs(rows)
        for task, judge in JUDGES.items():
            rng = generator_for("probe", str(name), task)
            result = judge(pairs, rng, settings.resamples, settings.level)
            yield ProbeDiscrimination(
                estimator=str(name),
                task=task,
                area=result.estimate,
                ci_low=result.low,
                ci_high=result.high,
                p=result.p,
                p_attainable=result.p_attainable,
                procedure=Procedure.ROC_AREA,
                n=result.n,
                n_reference=result.n_reference,
                test=result.method,
                reason=joined(left_out(lost, NO_RESPONSE), result.reason, SHARED_BASE),
            )


def selection_rows(
    noise: pd.DataFrame, declared: tuple[str, str, str, float] | None, primary: str, level: float
) -> Iterator[ProbeSelection]:
    """The demonstration on the responses of the bases as made: any two halves of their refits differ by chance alone.

    declared: site, scale, region and σ of the probe, the cell that is fixed beforehand; the first where it is absent.
    """
    rows = noise[(noise["estimator"] == primary) & (noise["heads"] == Heads.AS_MADE)]
    wide = rows.pivot_table(index=["model", "seed"], columns=CELL, values="change_percent", aggfunc="first")
    wide = wide.dropna(axis="columns")
    if len(wide) < 4 or wide.shape[1] < 2:
        return
    # What sets architectures apart is no chance: each is compared with its own mean.
    means = wide.groupby("model").transform("mean").to_numpy(dtype=np.float64)
    centred = difference(wide.to_numpy(dtype=np.float64), means)
    rng = generator_for("best of cells", primary)
    cells = wide.columns.to_list()
    fixed = next((place for place, cell in enumerate(cells) if cell == declared), 0)
    yield ProbeSelection(estimator=primary, **asdict(best_of_cells(centred, fixed, rng, SPLITS, level)))


def _over_draws(rows: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    numbers = ["clean", "value", "change_percent"]
    rows = rows.assign(**{name: rows[name].astype("float64") for name in numbers})
    grouped = rows.groupby(key, sort=False, observed=True)
    complete = grouped[numbers].count().eq(grouped.size(), axis=0)
    means = grouped[numbers].mean().where(complete)
    reasons = {place: joined(*own["reason"].dropna()) for place, own in grouped}
    return means.assign(draws=grouped.size(), reason=pd.Series(reasons, dtype="object")).reset_index()


def _pairs(rows: pd.DataFrame) -> tuple[list[ProbedPair], int]:
    """Aligned models with their bases, of one estimator, where all four numbers are defined, and how many are not."""
    by_model = {(row["model"], row["seed"]): row for row in rows.to_dict("records")}
    pairs, lost = [], 0
    for row in by_model.values():
        base = by_model.get((row["base"], row["seed"]))
        if base is None:
            continue
        numbers = (base["clean"], row["clean"], base["change_percent"], row["change_percent"])
        if np.isfinite(np.array(numbers, dtype=np.float64)).all():
            one, other, base_response, response = map(float, numbers)
            pairs.append(ProbedPair(one, other, base_response, response, (row["base"], row["seed"])))
        else:
            lost += 1
    return pairs, lost
