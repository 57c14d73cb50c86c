"""What a group's models say beside their attention: residual stream, importance of heads, norms of weights."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from headwise.analyses.stability.cka import LINEAR_DEBIASED, RBF_BIASED, RBF_DEBIASED
from headwise.analyses.stability.cosines import SAME, WHOLE
from headwise.analyses.stability.group import Group
from headwise.analyses.stability.head_rows import layer_values
from headwise.analyses.stability.names import (
    ABLATION,
    BEFORE,
    CORRECTED,
    HELD_OUT,
    MATRICES,
    PROMPTS,
    PUBLISHED,
    RANDOM,
    SITES,
    Analysis,
    Measure,
    Replacement,
)
from headwise.analyses.stability.rows import StabilityRow, adjusted
from headwise.analyses.stability.uncertainty import (
    chance_corrected,
    correlation_test,
    mean_correlation_test,
    pair_means,
    refit_intervals,
)
from headwise.statistics.arrays import FloatArray
from headwise.statistics.generators import generator_for
from headwise.statistics.intervals import t_interval
from headwise.statistics.procedures import Procedure
from headwise.study.comparison import Comparison

NO_VARIATION = "the residual stream does not vary, or half of its tokens are the same"
NOT_FOUND = "this matrix was not found in the model"


def residual_rows(group: Group, settings: Comparison) -> Iterator[StabilityRow]:
    """Similarity of the residual streams of all pairs of refits, layer by layer; chance: models with random weights."""
    if group.residual.empty:
        return
    has_random = bool(group.residual["weights"].eq(RANDOM).any())
    for site in SITES:
        for kernel in (RBF_BIASED, RBF_DEBIASED, LINEAR_DEBIASED):
            pairs = group.residual_values(kernel, site)
            chance = (
                _means(group.residual_values(kernel, site, RANDOM)) if has_random else np.full(pairs.shape[2], np.nan)
            )
            if kernel == RBF_BIASED and site == BEFORE:
                yield from _published_residual(group, pairs, chance)
            rng = generator_for("stability", group.name, kernel, site)

            def outcomes(means: FloatArray, level: FloatArray = chance) -> FloatArray:
                whole = np.column_stack([means, means.mean(axis=1)])
                return np.column_stack([whole, chance_corrected(whole, np.append(level, level.mean()))])

            intervals = refit_intervals(pairs, outcomes, rng, settings.resamples, settings.level)
            for place, layer in enumerate([*group.layers, None]):
                interval, corrected = intervals[place], intervals[place + pairs.shape[2] + 1]
                row = StabilityRow(
                    group.name, Analysis.RESIDUAL, CORRECTED, measure=kernel, taken_from=site, layer=layer
                )
                row = (
                    row.with_interval(interval)
                    if interval.estimate is not None
                    else row.with_value(np.nan, NO_VARIATION)
                )
                level = float(chance[place] if layer is not None else chance.mean())
                yield row.with_chance(level, corrected)


def _published_residual(group: Group, pairs: FloatArray, chance: FloatArray) -> Iterator[StabilityRow]:
    """Mean over all ordered pairs, those of a refit with itself, which are 1, included."""
    refits = len(pairs)

    def with_itself(means: FloatArray) -> FloatArray:
        mixed: FloatArray = (1 + (refits - 1) * means) / refits
        return mixed

    values = with_itself(_means(pairs))
    for place, layer in enumerate([*group.layers, None]):
        value = values[place] if layer is not None else values.mean()
        level = chance[place] if layer is not None else chance.mean()
        row = StabilityRow(
            group.name, Analysis.RESIDUAL, PUBLISHED, measure=RBF_BIASED, taken_from=BEFORE, layer=layer, n=refits
        )
        row = row.with_value(float(value), NO_VARIATION)
        yield row.with_chance(float(with_itself(level)), float(chance_corrected(value, with_itself(level))))


def importance_rows(group: Group, settings: Comparison) -> Iterator[StabilityRow]:
    """What a head's ablation costs, and whether stable heads cost less, layer by layer and over depth."""
    if group.importance.empty:
        return
    for version, column, text, replacement in (
        (PUBLISHED, "delta_perplexity", PROMPTS, Replacement.VALUE_BIAS),
        (CORRECTED, "delta_loss_nats", HELD_OUT, Replacement.ZERO),
        (CORRECTED, "delta_loss_nats", HELD_OUT, Replacement.MEAN),
    ):
        values = group.importance_values(column, text, replacement)
        row = StabilityRow(group.name, Analysis.IMPORTANCE, version, measure=ABLATION[replacement], taken_from=text)
        for refit, place, head in np.ndindex(*values.shape):
            single = replace(row, refit=refit, layer=group.layers[place], head=head)
            yield single.with_value(float(values[refit, place, head]), "the loss is not finite")
        stability = group.head_values(Analysis.HEAD_STABILITY, version, WHOLE.measure, SAME)
        rng = generator_for("stability", group.name, Analysis.IMPORTANCE, version, replacement)
        row = replace(row, analysis=Analysis.IMPORTANCE_CORRELATION)
        tests = []
        for place, layer in enumerate(group.layers):
            test = mean_correlation_test(values[:, place], stability[: len(values), place], rng, settings.resamples)
            # A mean of several correlations is not calibrated.
            procedure = Procedure.CORRELATION if len(values) == 1 else None
            tests.append(replace(row, layer=layer).with_test(test, procedure))
        yield from adjusted(tests, settings.level)
        over_layers = np.array([np.nan if test.value is None else test.value for test in tests])
        depth = np.arange(len(over_layers), dtype=np.float64)
        trend = correlation_test(over_layers, depth, rng, settings.resamples)
        yield replace(row, analysis=Analysis.IMPORTANCE_TREND).with_test(trend, Procedure.CORRELATION)


def weight_rows(group: Group, settings: Comparison) -> Iterator[StabilityRow]:
    """Norms of each layer's matrices, and whether they go with stability over layers."""
    if group.norms.empty:
        return
    for version in (PUBLISHED, CORRECTED):
        stability = layer_values(group, version)
        tests = []
        for matrix in MATRICES:
            norms = group.norm_values(matrix, version)
            row = StabilityRow(group.name, Analysis.WEIGHT_NORM, version, measure=Measure.FROBENIUS, taken_from=matrix)
            if not norms.size:
                yield row.with_value(np.nan, NOT_FOUND)
                continue
            used = norms[:1] if version == PUBLISHED else norms
            for place, layer in enumerate(group.layers):
                yield replace(row, layer=layer).with_interval(t_interval(used[:, place], settings.level))
            rng = generator_for("stability", group.name, Analysis.WEIGHT_NORM, version, matrix)
            test = correlation_test(used.mean(axis=0), stability, rng, settings.resamples)
            tests.append(replace(row, analysis=Analysis.WEIGHT_NORM_CORRELATION).with_test(test, Procedure.CORRELATION))
        yield from adjusted(tests, settings.level)


def _means(pairs: FloatArray) -> FloatArray:
    means: FloatArray = pair_means(pairs, np.ones((1, len(pairs))))[0]
    return means
