"""Placebos of one arm: nothing is to be found between them, so that a test must keep its level there.

placebo − placebo over refits   sign flip: exact, so that this checks the software alone
placebo − base within a refit   label swap over prompts: rejects whenever weights changed, whatever they were taught

Both are asked once more with an effect added to every difference, which gives their power.

Known failure: pairs of placebos share placebos, so that the number of their rejections scatters more than that of as
many independent tests; and an effect that is the same for every unit is easier to find than one that differs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from headwise.analyses.placebos.rows import Against, PlaceboRow
from headwise.analyses.specialization.evaluate import read_features
from headwise.analyses.specialization.registry import Estimator, estimator
from headwise.runtime.parquet import read_metadata
from headwise.runtime.progress import track
from headwise.statistics.arrays import FloatArray
from headwise.statistics.attainable import of_sign_flips
from headwise.statistics.generators import generator_for
from headwise.statistics.permutation import attainable_level, sign_flip
from headwise.study.comparison import Comparison
from headwise.tables.files import write_rows

SINK = "kept"
# What is put in, in standard deviations of placebo − placebo over refits.
DEVIATIONS = (0.0, 0.5, 1.0, 2.0)
# (model, seed): the estimator's value of each prompt, float64 (prompts,).
Values = Mapping[tuple[str, int], FloatArray]


@dataclass(frozen=True)
class ArmWithPlacebos:
    """An arm and the names of its placebos, two at least."""

    base: str
    method: str
    dose: int
    placebos: tuple[str, ...]


def measure_placebos(
    features: Sequence[Path], arms: Sequence[ArmWithPlacebos], comparison: Comparison, study: str, table: Path
) -> None:
    """Write a row per arm, test and effect, of the primary estimator with all keys kept.

    features  features.parquet of every placebo and base, at every seed

    Raises ValueError where two of these models have the same weights.
    """
    primary = estimator(comparison.primary)
    values = {}
    weights: dict[tuple[int, str], str] = {}
    for path in track(features, "features of placebos", len(features)):
        known = read_metadata(path)
        same = weights.setdefault((known["seed"], known["weights_digest"]), known["model"])
        if same != known["model"]:
            raise ValueError(
                f"{path}: '{known['model']}' has the weights of '{same}' at seed {known['seed']}, so that there is "
                "nothing to compare: give each placebo another `coin`"
            )
        values[known["model"], known["seed"]] = _per_prompt(primary, path)
    rows = [row for arm in arms for row in placebo_rows(arm, primary, values, comparison)]
    write_rows(PlaceboRow, rows, table, {"study": study})


def _per_prompt(primary: Estimator, path: Path) -> FloatArray:
    """The value of each prompt; of an estimator that is not a mean over prompts, the value of the model alone."""
    features = read_features(path)[primary.name, SINK].values
    if primary.per_layer:
        return primary.summary(features)
    return primary.summary(np.nanmean(features, axis=0))[None]


def placebo_rows(
    arm: ArmWithPlacebos, primary: Estimator, values: Values, comparison: Comparison
) -> Iterator[PlaceboRow]:
    """Rows of one arm: over refits, then within them where the estimator has a value per prompt."""
    seeds = sorted(seed for model, seed in values if model == arm.base)
    means = {name: np.array([np.nanmean(values[name, seed]) for seed in seeds]) for name in arm.placebos}
    pairs = [means[one] - means[other] for one, other in combinations(arm.placebos, 2)]
    deviation = float(np.sqrt(np.mean([pair.var(ddof=1) for pair in pairs]))) if len(seeds) > 1 else 0.0
    blank = PlaceboRow(
        estimator=primary.name, sink=SINK, base=arm.base, method=arm.method, dose=arm.dose,
        against=Against.PLACEBO, injected=0.0, deviations=0.0, tests=len(pairs), units=len(seeds),
    )  # fmt: skip
    smallest = of_sign_flips(len(seeds), comparison.resamples)
    tests: list[tuple[PlaceboRow, list[FloatArray], float | None]] = [
        (blank, pairs, attainable_level(smallest, comparison.level))
    ]
    if primary.per_layer:
        within = [values[name, seed] - values[arm.base, seed] for name in arm.placebos for seed in seeds]
        prompts = replace(blank, against=Against.BASE, tests=len(within), units=len(within[0]))
        tests.append((prompts, within, None))
    for row, differences, promised in tests:
        for deviations in DEVIATIONS:
            effect = deviations * deviation
            yield replace(
                row,
                injected=effect,
                deviations=deviations,
                rejected=rejections(differences, effect, row, comparison),
                promised=promised if deviations == 0 else None,
            )


def rejections(differences: Sequence[FloatArray], effect: float, row: PlaceboRow, comparison: Comparison) -> int | None:
    """How many of these samples of differences reject at the level once the effect is added; None where none can."""
    rng = generator_for("placebos", row.base, row.method, row.dose, row.against)
    found = [sign_flip(sample + effect, rng, comparison.resamples).p for sample in differences]
    defined = [p for p in found if p is not None]
    return sum(p <= comparison.level for p in defined) if defined else None
