"""The perturbation probe: what its response tells apart, and what choosing the best of many cells makes of nothing.

D'Elia (2026) reads a change of the specialization index under noise of more than +20 % as suppressed specialization,
within ±5 % as stable, and a fall as optimised; dose and region were those of 24 with the largest effect in the expected
direction. Here both are declared, and the probe is judged by how well it separates what it should separate.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from headwise.analyses.noise.rows import Reading, Selection
from headwise.statistics.arrays import FloatArray
from headwise.statistics.result import Result
from headwise.statistics.roc import roc_area
from headwise.statistics.ties import OF_ONE

SUPPRESSED_ABOVE, STABLE_WITHIN = 20.0, 5.0


@dataclass(frozen=True)
class ProbedPair:
    """An aligned model and its base in one refit: values of an estimator without noise, responses in per cent.

    base: what tells bases apart, such as name and seed; numbers do not, since two bases may have the same.
    """

    base_value: float
    aligned_value: float
    base_response: float
    aligned_response: float
    base: Hashable


def reading(response_percent: float) -> Reading:
    """What the published thresholds call a response."""
    if response_percent > SUPPRESSED_ABOVE:
        return Reading.SUPPRESSED
    if abs(response_percent) <= STABLE_WITHIN:
        return Reading.STABLE
    return Reading.OPTIMISED if response_percent < 0 else Reading.BETWEEN


def aligned_against_base(pairs: Sequence[ProbedPair], rng: np.random.Generator, resamples: int, level: float) -> Result:
    """ROC area of the response: the chance that an aligned model responds more than a base. Bases count once each."""
    bases = {pair.base: pair.base_response for pair in pairs}
    return roc_area([pair.aligned_response for pair in pairs], list(bases.values()), rng, resamples, level)


def suppressed_against_others(
    pairs: Sequence[ProbedPair], rng: np.random.Generator, resamples: int, level: float
) -> Result:
    """ROC area of the aligned model's response: the chance that it is larger where alignment lowered the estimator
    than where it did not, as the published reading has it."""
    fell = [pair.aligned_response for pair in pairs if pair.base_value - pair.aligned_value > OF_ONE]
    rose = [pair.aligned_response for pair in pairs if not pair.base_value - pair.aligned_value > OF_ONE]
    return roc_area(fell, rose, rng, resamples, level)


def best_of_cells(
    responses: FloatArray, declared: int, rng: np.random.Generator, splits: int, level: float
) -> Selection:
    """A demonstration of how selection manufactures an effect, not an analysis.

    responses  (units, cells) response in per cent of exchangeable models, at least four, to several doses and regions
    declared   index of the cell that is fixed beforehand
    rng        splits the units into two halves at random, the first of which is expected to respond more

    Whatever the responses are, no cell tells random halves apart: a test at 5 % may find a difference in 5 % of splits.
    """
    from scipy.stats import ttest_ind

    units, cells = responses.shape
    half = units // 2
    if half < 2:
        raise ValueError(f"{units} units cannot be split into halves of two: give at least four")
    orders = rng.permuted(np.tile(np.arange(units), (splits, 1)), axis=1)
    first, second = responses[orders[:, :half]], responses[orders[:, half : 2 * half]]  # (splits, half, cells)
    differences = first.mean(axis=1) - second.mean(axis=1)
    test = ttest_ind(first, second, axis=1)
    p, best = test.pvalue, np.where(np.isnan(test.statistic), -np.inf, test.statistic).argmax(axis=1)
    rows = np.arange(splits)
    return Selection(
        cells=cells,
        units=units,
        splits=splits,
        declared_rate=float((p[:, declared] < level).mean()),
        best_rate=float((p[rows, best] < level).mean()),
        declared_percent=float(differences[:, declared].mean()),
        best_percent=float(differences[rows, best].mean()),
        level=level,
    )
