"""How a model's numbers change under alignment: tests, intervals and equivalence, within and over refits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from headwise.analyses.specialization.evaluate import Features
from headwise.analyses.specialization.measured import defined_mean
from headwise.analyses.specialization.registry import Estimator
from headwise.statistics.arrays import FloatArray
from headwise.statistics.equivalence import equivalence
from headwise.statistics.intervals import Interval, cluster_intervals, t_interval
from headwise.statistics.permutation import PermutationTest, label_swap, sign_flip
from headwise.statistics.result import finite_or_none, joined
from headwise.statistics.ties import OF_ONE, difference
from headwise.study.comparison import Comparison


@dataclass(frozen=True)
class Change:
    """How one number of a model changes under alignment, with its test: one row of a comparison.

    scope               "refit": within one refit, units are prompts; "refits": over refits, units are refits
    seed                the refit; None over refits
    level, layer        "model" and None, or "layer" and the index of the layer in the model
    delta_absolute      aligned minus base, in the estimator's units, as are ci_low, ci_high and the margin
    delta_relative      delta_absolute / base_value, a fraction; None where the base value is undefined or rounding
    p_domains           p when the labels of whole prompt domains are swapped: what p would be if prompts of a domain
                        moved together; None over refits and for prompts of one domain
    p_domains_attainable  the smallest that this p can be
    p_equivalence       p of "the change is at least the margin"; for the primary estimator at model level
    equivalence_margin  largest change that still counts as none; only there
    test                how p and the interval were made, in words
    reason              why something is undefined or must be read with care
    """

    scope: str
    seed: int | None
    estimator: str
    sink: str
    level: str
    layer: int | None
    base_value: float | None
    aligned_value: float | None
    delta_absolute: float | None
    delta_relative: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    p_attainable: float | None
    n: int
    unit: str
    test: str
    p_domains: float | None = None
    p_domains_attainable: float | None = None
    p_equivalence: float | None = None
    equivalence_margin: float | None = None
    reason: str | None = None


def changes_in_refit(
    each: Estimator,
    sink: str,
    seed: int,
    base: Features,
    aligned: Features,
    domains: Sequence[str],
    settings: Comparison,
    rng: np.random.Generator,
    remark: str | None = None,
) -> list[Change]:
    """Changes within one refit: of the model, then of each layer where the estimator has values of layers.

    base, aligned  features of the same prompts; what is undefined in either is left out of both
    domains        of the prompts; intervals resample them, or the prompts where all are of one domain
    remark         what all rows have to say

    Labels of the two models are swapped prompt by prompt. For an estimator that is linear in prompts this is
    the sign-flip test of the differences per prompt.
    """
    shared = np.isfinite(base.values) & np.isfinite(aligned.values)
    before, after = (np.where(shared, features.values, np.nan) for features in (base, aligned))
    one_domain = len(set(domains)) < 2
    clusters, what = (base.prompts, "prompts") if one_domain else (domains, "prompt domains")

    def outcomes(means: FloatArray) -> FloatArray:
        """Value of the model, then of its layers: (r, layers, units) → (r, 1 + layers), or (r, 1)."""
        model = each.summary(means)[:, None]
        return np.concatenate([model, means[..., 0]], axis=1) if each.per_layer else model

    tests = label_swap(before, after, outcomes, rng, settings.resamples)
    whole = None if one_domain else label_swap(before, after, outcomes, rng, settings.resamples, clusters=domains)
    intervals = cluster_intervals(
        np.stack([before, after], axis=1),
        lambda means: difference(outcomes(means[:, 1]), outcomes(means[:, 0])),
        rng,
        settings.resamples,
        settings.level,
        clusters,
    )
    base_values, aligned_values = (outcomes(defined_mean(side, axis=0)[None])[0] for side in (before, after))
    changes = []
    for position, (test, interval) in enumerate(zip(tests, intervals, strict=True)):
        by_domain = whole[position] if whole else None
        changes.append(
            Change(
                scope="refit",
                seed=seed,
                estimator=each.name,
                sink=sink,
                level="layer" if position else "model",
                layer=base.layers[position - 1] if position else None,
                **_values(finite_or_none(base_values[position]), finite_or_none(aligned_values[position])),
                **_inference(test, interval, "prompt", f", {interval.n} {what}"),
                p_domains=by_domain.p if by_domain else None,
                p_domains_attainable=by_domain.p_attainable if by_domain else None,
                reason=joined(remark, test.reason, interval.reason),
            )
        )
    if each.name == settings.primary:
        changes[0] = _with_equivalence(changes[0], each, before, after, clusters, settings.equivalence_margin)
    return changes


def changes_over_refits(
    changes: Sequence[Change],
    refits: Sequence[int],
    settings: Comparison,
    rng: np.random.Generator,
    remark: str | None = None,
) -> list[Change]:
    """The changes within the refits of these seeds, averaged and tested over refits.

    Refits are few: intervals are Student's t, and the smallest attainable p says what the sign-flip test can show.
    """
    groups: dict[tuple[str, str, str, int | None], list[Change]] = {}
    for change in changes:
        if change.seed in refits:
            groups.setdefault((change.estimator, change.sink, change.level, change.layer), []).append(change)
    over = []
    for group in groups.values():
        deltas = _array([change.delta_absolute for change in group])
        defined = np.isfinite(deltas)
        values = _values(
            _mean([change.base_value for change in group], defined),
            _mean([change.aligned_value for change in group], defined),
        )
        test, interval = sign_flip(deltas, rng, settings.resamples), t_interval(deltas, settings.level)
        margin = group[0].equivalence_margin
        result = None if margin is None else equivalence(deltas, margin)
        over.append(
            replace(
                group[0],
                scope="refits",
                seed=None,
                **values,
                **_inference(test, interval, "refit"),
                p_domains=None,
                p_domains_attainable=None,
                p_equivalence=result.p if result else None,
                reason=joined(remark, test.reason, interval.reason, result.reason if result else None),
            )
        )
    return over


def _with_equivalence(
    change: Change,
    each: Estimator,
    before: FloatArray,
    after: FloatArray,
    clusters: Sequence[str],
    margin: float,
) -> Change:
    """The change of the model with its equivalence test, where the estimator has values of single prompts."""
    if not each.per_layer:
        remark = "no equivalence test: the estimator has no value for a single prompt"
        return replace(change, equivalence_margin=margin, reason=joined(change.reason, remark))
    result = equivalence(difference(each.summary(after), each.summary(before)), margin, clusters)
    reason = joined(change.reason, result.reason)
    return replace(change, p_equivalence=result.p, equivalence_margin=margin, reason=reason)


def _values(base: float | None, aligned: float | None) -> dict[str, Any]:
    """Values, absolute and relative change, as columns of a `Change`; None where undefined.

    A change that is rounding is 0, and nothing is relative to a base that is.
    """
    absolute = None if base is None or aligned is None else float(difference(_array([aligned]), _array([base]))[0])
    relative = absolute / base if absolute is not None and base and abs(base) > OF_ONE else None
    return {"base_value": base, "aligned_value": aligned, "delta_absolute": absolute, "delta_relative": relative}


def _inference(test: PermutationTest, interval: Interval, unit: str, over: str = "") -> dict[str, Any]:
    """Test and interval as columns of a `Change`."""
    return {
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": test.p,
        "p_attainable": test.p_attainable,
        "n": test.n,
        "unit": unit,
        "test": f"{test.method}; interval: {interval.method}{over}",
    }


def _array(values: Sequence[float | None]) -> FloatArray:
    """Numbers with NaN for None."""
    return np.array(values, dtype=np.float64)


def _mean(values: Sequence[float | None], chosen: npt.NDArray[np.bool_]) -> float | None:
    return float(_array(values)[chosen].mean()) if chosen.any() else None
