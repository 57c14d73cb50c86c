"""What a group's attention says: stability of layers and heads, commonness, length of prompts, trends over depth."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from headwise.analyses.stability.cosines import OTHER, SAME, WHOLE
from headwise.analyses.stability.group import Group
from headwise.analyses.stability.names import CORRECTED, PUBLISHED, RANDOM, TRAINED, Analysis, Measure, Version, Weights
from headwise.analyses.stability.rows import StabilityRow
from headwise.analyses.stability.uncertainty import (
    chance_corrected,
    correlation_test,
    depth_gap,
    inner_dip,
    least_stable_position,
    pair_means,
    refit_intervals,
)
from headwise.statistics.arrays import FloatArray
from headwise.statistics.generators import generator_for
from headwise.statistics.intervals import t_interval
from headwise.statistics.procedures import Procedure
from headwise.statistics.result import finite_or_none
from headwise.study.comparison import Comparison

NO_DIRECTION = "what is compared of a head does not vary"
TOO_SHORT = "no prompt has so many words, or attention is not causal"
ONE_HEAD = "a layer of one head"
DEPTHS: dict[Analysis, Callable[[FloatArray], FloatArray]] = {
    Analysis.DEPTH_GAP: depth_gap,
    Analysis.LEAST_STABLE_POSITION: least_stable_position,
    Analysis.INNER_DIP: inner_dip,
}
DEPTH_UNDEFINED = "a layer is undefined, or there are too few layers"


def head_rows(group: Group, settings: Comparison) -> Iterator[StabilityRow]:
    """All rows about the heads of a group."""
    for weights in (TRAINED, RANDOM):
        if not group.pairs["weights"].eq(weights).any():
            continue
        for measure in _measures(group, weights):
            yield from _layers(group, settings, weights, measure, None)
        for words in sorted(group.pairs.loc[group.pairs["weights"].eq(weights), "words"].dropna().unique()):
            yield from _layers(group, settings, weights, WHOLE.measure, int(words))
        yield from _single_heads(group, weights)
        yield from _commonness(group, settings, weights)
        yield from _across_layers(group, settings, weights)
    yield from _trends(group, settings)


def _measures(group: Group, weights: Weights) -> list[Measure]:
    """What the heads of these models were compared on."""
    found = set(group.pairs.loc[group.pairs["weights"].eq(weights), "measure"])
    return [measure for measure in Measure if measure in found]


def layer_values(
    group: Group, version: Version, measure: Measure = WHOLE.measure, weights: Weights = TRAINED
) -> FloatArray:
    """S of each layer on whole prompts: (L,)."""
    if version == PUBLISHED:
        return group.head_values(Analysis.HEAD_STABILITY, PUBLISHED, measure, SAME, weights=weights)[0].mean(axis=-1)
    return _mean_over_pairs(group.pair_values(measure, None, SAME, weights))


def distinctness_values(group: Group, version: Version) -> FloatArray:
    """1 − commonness of each layer, in each refit: (R, L); (1, L) as published."""
    values = group.head_values(Analysis.COMMONNESS, version, WHOLE.measure, SAME)
    return 1 - values.mean(axis=-1)


def _mean_over_pairs(pairs: FloatArray) -> FloatArray:
    means: FloatArray = pair_means(pairs, np.ones((1, len(pairs))))[0]
    return means


def _layers(
    group: Group, settings: Comparison, weights: Weights, measure: Measure, words: int | None
) -> Iterator[StabilityRow]:
    """Stability of each layer and of the model, with chance level and interval; and its shape over depth."""
    analysis = Analysis.HEAD_STABILITY if words is None else Analysis.PROMPT_LENGTH
    undefined = NO_DIRECTION if words is None else TOO_SHORT
    ours = StabilityRow(group.name, analysis, CORRECTED, weights, measure, words=words)
    if measure == WHOLE.measure:
        values, chance = (
            group.head_values(Analysis.HEAD_STABILITY, PUBLISHED, measure, pairing, words, weights)[0].mean(axis=-1)
            for pairing in (SAME, OTHER)
        )
        published = replace(ours, version=PUBLISHED, n=1, method="greedy matching from one anchor")
        for place, layer in _places(group):
            row = published.with_value(_at(values, place), undefined)
            corrected = float(chance_corrected(_at(values, place), _at(chance, place)))
            yield replace(row.with_chance(_at(chance, place), corrected), layer=layer)
        if words is None:
            for name, shape in DEPTHS.items():
                yield replace(published, analysis=name).with_value(float(shape(values)), DEPTH_UNDEFINED)

    pairs = np.stack([group.pair_values(measure, words, pairing, weights) for pairing in (SAME, OTHER)], axis=-1)
    layers = pairs.shape[2]

    def outcomes(means: FloatArray) -> FloatArray:
        value, chance = (np.column_stack([each, each.mean(axis=1)]) for each in (means[..., 0], means[..., 1]))
        shapes = [shape(means[..., 0]) for shape in DEPTHS.values()]
        return np.column_stack([value, chance_corrected(value, chance), chance, *shapes])

    rng = generator_for("stability", group.name, weights, measure, words or 0)
    intervals = refit_intervals(pairs, outcomes, rng, settings.resamples, settings.level)
    for place, layer in _places(group):
        value, corrected, chance_level = (intervals[place + part * (layers + 1)] for part in range(3))
        row = ours.with_interval(value) if value.estimate is not None else ours.with_value(np.nan, undefined)
        level = np.nan if chance_level.estimate is None else chance_level.estimate
        yield replace(row.with_chance(level, corrected), layer=layer)
    if words is None:
        for name, interval in zip(DEPTHS, intervals[3 * (layers + 1) :], strict=True):
            row = replace(ours, analysis=name)
            yield (
                row.with_interval(interval)
                if interval.estimate is not None
                else row.with_value(np.nan, DEPTH_UNDEFINED)
            )


def _single_heads(group: Group, weights: Weights) -> Iterator[StabilityRow]:
    for version in (PUBLISHED, CORRECTED):
        values = group.head_values(Analysis.HEAD_STABILITY, version, WHOLE.measure, SAME, weights=weights)
        for refit, place, head in np.ndindex(*values.shape):
            row = StabilityRow(
                group.name,
                Analysis.HEAD_STABILITY,
                version,
                weights,
                WHOLE.measure,
                refit=refit,
                layer=group.layers[place],
                head=head,
            )
            yield row.with_value(float(values[refit, place, head]), NO_DIRECTION)


def _commonness(group: Group, settings: Comparison, weights: Weights) -> Iterator[StabilityRow]:
    """Commonness of each layer and its complement; units are refits, one of them as published."""
    for version in (PUBLISHED, CORRECTED):
        for measure in _measures(group, weights) if version == CORRECTED else (WHOLE.measure,):
            values = group.head_values(Analysis.COMMONNESS, version, measure, SAME, weights=weights).mean(axis=-1)
            pairing = group.head_values(Analysis.COMMONNESS, version, measure, OTHER, weights=weights)
            chance = pairing.mean(axis=-1) if pairing.size else np.full(values.shape, np.nan)
            for analysis, sign in ((Analysis.COMMONNESS, 1), (Analysis.DISTINCTNESS, -1)):
                for place, layer in _places(group):
                    each = _column(values, place)
                    row = StabilityRow(group.name, analysis, version, weights, measure)
                    interval = t_interval(each if sign > 0 else 1 - each, settings.level)
                    row = (
                        row.with_interval(interval)
                        if interval.estimate is not None
                        else row.with_value(np.nan, ONE_HEAD)
                    )
                    level = float(np.mean(_column(chance, place)))
                    yield replace(row, chance=finite_or_none(level if sign > 0 else 1 - level), layer=layer)


def _across_layers(group: Group, settings: Comparison, weights: Weights) -> Iterator[StabilityRow]:
    for version in (PUBLISHED, CORRECTED):
        values = group.head_values(Analysis.CROSS_LAYER, version, WHOLE.measure, SAME, weights=weights).mean(axis=-1)
        for place, layer in _places(group):
            row = StabilityRow(group.name, Analysis.CROSS_LAYER, version, weights, WHOLE.measure)
            yield replace(row, layer=layer).with_interval(t_interval(_column(values, place), settings.level))


def _trends(group: Group, settings: Comparison) -> Iterator[StabilityRow]:
    """Does stability follow depth, or distinctness? Layers are put into every order."""
    for version in (PUBLISHED, CORRECTED):
        stability = layer_values(group, version)
        distinct = distinctness_values(group, version).mean(axis=0)
        for analysis, other in (
            (Analysis.DEPTH_CORRELATION, np.arange(len(stability), dtype=np.float64)),
            (Analysis.DISTINCTNESS_CORRELATION, distinct),
        ):
            rng = generator_for("stability", group.name, version, analysis)
            row = StabilityRow(group.name, analysis, version, measure=WHOLE.measure)
            yield row.with_test(correlation_test(stability, other, rng, settings.resamples), Procedure.CORRELATION)


def _places(group: Group) -> Iterator[tuple[int, int | None]]:
    """Position and index of each layer, and at last that of the whole model."""
    yield from enumerate(group.layers)
    yield len(group.layers), None


def _at(layers: FloatArray, place: int) -> float:
    """The number of a layer, or the mean over layers past the last."""
    return float(layers[place] if place < len(layers) else layers.mean())


def _column(refits: FloatArray, place: int) -> FloatArray:
    """The numbers of a layer in all refits, or their means over layers past the last."""
    return refits[:, place] if place < refits.shape[1] else refits.mean(axis=1)
