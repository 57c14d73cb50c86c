"""Groups of refits against one another: weight decay, and depth."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from headwise.analyses.stability.cosines import OTHER, SAME, WHOLE
from headwise.analyses.stability.group import Group
from headwise.analyses.stability.head_rows import layer_values
from headwise.analyses.stability.names import CORRECTED, HELD_OUT, MATRICES, PUBLISHED, Analysis, Measure
from headwise.analyses.stability.packed import StabilityError
from headwise.analyses.stability.rows import StabilityRow
from headwise.analyses.stability.settings import Stability
from headwise.analyses.stability.uncertainty import chance_corrected, depth_gap, difference_intervals
from headwise.statistics.arrays import FloatArray
from headwise.statistics.generators import generator_for
from headwise.statistics.intervals import Interval, welch_interval
from headwise.statistics.ties import tolerance
from headwise.study.comparison import Comparison


def contrast_name(without: str, with_decay: str) -> str:
    """What stands as `group` in the rows of a contrast."""
    return f"{with_decay} − {without}"


def contrast_rows(groups: Mapping[str, Group], stability: Stability, settings: Comparison) -> Iterator[StabilityRow]:
    """All rows about differences between groups. Raises StabilityError where two groups have another shape."""
    for contrast in stability.weight_decay:
        without, decayed = groups[contrast.without], groups[contrast.with_decay]
        name = contrast_name(contrast.without, contrast.with_decay)
        if len(without.layers) != len(decayed.layers):
            raise StabilityError(
                f"stability.weight_decay: '{without.name}' has {len(without.layers)} layers and '{decayed.name}' "
                f"{len(decayed.layers)}: contrast groups that differ in weight decay alone"
            )
        yield from _stability_change(name, without, decayed, settings)
        yield from _parity(name, without, decayed, stability.parity_margin, settings)
        yield from _norm_change(name, without, decayed, settings)
    depths = sorted((groups[name] for name in stability.depths), key=lambda group: len(group.layers))
    if len({len(group.layers) for group in depths}) > 1:
        yield from _depth_contrast(depths[0], depths[-1], settings)


def _stability_change(name: str, without: Group, decayed: Group, settings: Comparison) -> Iterator[StabilityRow]:
    """ΔS of each layer and of the model, with and without the chance level."""
    changes = layer_values(decayed, PUBLISHED) - layer_values(without, PUBLISHED)
    for place, layer in enumerate([*without.layers, None]):
        row = StabilityRow(
            name, Analysis.WEIGHT_DECAY, PUBLISHED, measure=WHOLE.measure, layer=layer, n=2, method="one anchor each"
        )
        yield row.with_value(float(changes[place] if layer is not None else changes.mean()), "a layer is undefined")
    first, second = (_with_chance(group) for group in (without, decayed))

    def outcomes(means: FloatArray) -> FloatArray:
        value = np.column_stack([means[..., 0], means[..., 0].mean(axis=1)])
        chance = np.column_stack([means[..., 1], means[..., 1].mean(axis=1)])
        return np.column_stack([value, chance, chance_corrected(value, chance)])

    rng = generator_for("stability", name, Analysis.WEIGHT_DECAY)
    intervals = difference_intervals(first, second, outcomes, rng, settings.resamples, settings.level)
    places = [*without.layers, None]
    for place, layer in enumerate(places):
        row = StabilityRow(name, Analysis.WEIGHT_DECAY, CORRECTED, measure=WHOLE.measure, layer=layer).with_interval(
            intervals[place]
        )
        yield _above_chance(row, intervals[place + len(places)], intervals[place + 2 * len(places)])


def _parity(name: str, without: Group, decayed: Group, margin: float, settings: Comparison) -> Iterator[StabilityRow]:
    """Difference of held-out loss: parity where the interval that covers 1 − 2 α lies within the margin (TOST)."""
    losses = [group.held_out_losses(HELD_OUT) for group in (decayed, without)]
    if not min(map(len, losses)):
        return
    interval = welch_interval(losses[0], losses[1], 2 * settings.level)
    row = StabilityRow(name, Analysis.PARITY, CORRECTED, measure=Measure.LOSS, taken_from=HELD_OUT).with_interval(
        interval
    )
    within = (
        interval.low is not None
        and interval.high is not None
        and max(-interval.low, interval.high) < margin - tolerance(margin)
    )
    yield replace(row, margin=margin, within_margin=within)
    ratio = np.exp(losses[0]).mean() - np.exp(losses[1]).mean()
    published = StabilityRow(
        name, Analysis.PARITY, PUBLISHED, measure=Measure.PERPLEXITY, taken_from=HELD_OUT, n=sum(map(len, losses))
    )
    yield published.with_value(float(ratio), "the loss is not finite")


def _norm_change(name: str, without: Group, decayed: Group, settings: Comparison) -> Iterator[StabilityRow]:
    """Norm check: decay must have shortened the weights, else it did nothing. Mean over layers, relative change."""
    for matrix in MATRICES:
        norms = [group.norm_values(matrix, CORRECTED) for group in (decayed, without)]
        if not all(each.size for each in norms):
            continue
        of_refits = [each.mean(axis=1) for each in norms]
        scale = of_refits[1].mean()
        interval = welch_interval(of_refits[0] / scale, of_refits[1] / scale, settings.level)
        yield StabilityRow(
            name, Analysis.NORM_CHANGE, CORRECTED, measure=Measure.RELATIVE_NORM, taken_from=matrix
        ).with_interval(interval)


def _depth_contrast(shallow: Group, deep: Group, settings: Comparison) -> Iterator[StabilityRow]:
    """Gap between the most and the least stable layer in the deepest group less that in the shallowest."""
    name = contrast_name(shallow.name, deep.name)
    gaps = [float(depth_gap(layer_values(group, PUBLISHED))) for group in (shallow, deep)]
    row = StabilityRow(name, Analysis.DEPTH_CONTRAST, PUBLISHED, measure=WHOLE.measure, n=2, method="one anchor each")
    yield row.with_value(gaps[1] - gaps[0], "a layer is undefined")
    rng = generator_for("stability", name, Analysis.DEPTH_CONTRAST)

    def gap(means: FloatArray) -> FloatArray:
        value, chance = means[..., 0], means[..., 1]
        return np.column_stack([depth_gap(value), depth_gap(chance_corrected(value, chance)), depth_gap(chance)])

    raw, corrected, chance = difference_intervals(
        _with_chance(shallow), _with_chance(deep), gap, rng, settings.resamples, settings.level
    )
    yield _above_chance(replace(row, version=CORRECTED).with_interval(raw), chance, corrected)


def _above_chance(row: StabilityRow, chance: Interval, corrected: Interval) -> StabilityRow:
    """The row with the difference of the chance levels, and that of what is left above them."""
    return replace(
        row,
        chance=chance.estimate,
        chance_corrected=corrected.estimate,
        corrected_low=corrected.low,
        corrected_high=corrected.high,
    )


def _with_chance(group: Group) -> FloatArray:
    """Cosines of pairs of refits on the same and on different prompts: (R, R, L, 2)."""
    return np.stack([group.pair_values(WHOLE.measure, None, pairing) for pairing in (SAME, OTHER)], axis=-1)
