"""What is kept of one layer's attention on one prompt: statistics of single heads and of all pairs of heads.

`sink` says whether all keys count ("kept") or key 0 is removed and the rows renormalised ("dropped"). Every statistic
follows from sums over query rows or has one value per row, so that a prompt is taken a few rows at a time, whatever
brings them (`layer_sums`). From whole weights everything is computed in float64.

Rows of models with learned sinks (GPT-OSS) sum to less than 1: a share of each goes to no key. With "kept" they count
as they are: the share is no key, adds nothing to an entropy or divergence and is not redistributed. Two heads that
differ in their shares alone then do differ, and an entropy is no longer that of a distribution (a row of total m whose
entropy is S when renormalised has m S - m ln m). With "dropped" the rows are renormalised, and the share is gone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwise.attention.capture import LayerAttention, Support
from headwise.attention.cka import SMALLEST_VARIANCE, output_cka, upper
from headwise.attention.layer_sums import LayerSums, Pairs, Sums
from headwise.attention.pair_statistics import PAIR_STATISTICS
from headwise.attention.row_tiles import row_tiles
from headwise.attention.sinks import SINKS, Sink

# Where squares were summed in float32, a correlation is off by up to 1.6e-7 over the share of variance in the mean
# square (measured on random attention): by less than 1e-4 from this share on.
SMALLEST_VARIANCE_OF_TILES = 2e-3


@dataclass(frozen=True)
class HeadStatistics:
    """Statistics of each head on one prompt of T tokens; float64 tensors.

    rows_left_out: int64 (heads,), number of query rows left out (always 0 where the sink is kept).
    row_entropy_nats: (heads, T), natural-log entropy of each query row, NaN for a row left out.
    received: (heads, T), attention that each key receives, mean over the query rows not left out; sums over
        the keys to the mean row sum (1 but for such models), NaN if every row is left out.
    """

    rows_left_out: Tensor
    row_entropy_nats: Tensor
    received: Tensor


@dataclass(frozen=True)
class LayerStatistics:
    """What is kept of one layer on one prompt of T tokens, by sink.

    pairs: see `pair_statistics`. descriptors: see `descriptors.descriptors`.
    """

    tokens: int
    heads: Mapping[Sink, HeadStatistics]
    pairs: Mapping[Sink, Mapping[str, Tensor]]
    descriptors: Tensor


def statistics_of(attention: LayerAttention, names: Sequence[str]) -> LayerStatistics:
    """All statistics of a layer from its whole attention weights; `names` are those of pairs of heads.

    Raises ValueError for output_cka where the output projection is no plain matrix.
    """
    cka = None
    if "output_cka" in names:
        if attention.output_projection is None:
            raise ValueError(no_projection(attention.layer))
        cka = output_cka(attention.head_outputs, attention.output_projection)[None]
    return statistics_from([_sums(attention.weights, names)], attention.support, cka)[0]


def statistics_from(layers: Sequence[LayerSums], support: Support, cka: Tensor | None) -> list[LayerStatistics]:
    """All statistics of layers of the same shape from their sums, all at once, since on short prompts
    the number of steps is what takes time; `cka` (layers, pairs) is their output_cka, where wanted.
    """
    sums = Sums.of(layers)
    entropies, rows_included = sums.rows.entropy_nats(), sums.included.sum(-1)
    left_out = sums.rows.first.shape[-1] - rows_included.long()
    received = sums.received / rows_included[..., None]
    pairs = _pair_statistics(sums, layers[0].names, all(layer.exact for layer in layers), support)
    rows = sums.rows
    by_row = torch.stack([rows.before, rows.own, rows.first, rows.distance, entropies[0].exp()], -1)
    descriptors = by_row[:, :, 1:].mean(2)

    def of_layer(number: int) -> LayerStatistics:
        heads = {
            sink: HeadStatistics(left_out[each, number], entropies[each, number], received[each, number])
            for each, sink in enumerate(SINKS)
        }
        by_sink = {
            sink: {name: values[each, number] for name, values in pairs.items()} for each, sink in enumerate(SINKS)
        }
        if cka is not None:
            by_sink["kept"]["output_cka"] = cka[number]
        return LayerStatistics(layers[number].tokens, heads, by_sink, descriptors[number])

    return [of_layer(number) for number in range(len(layers))]


def head_statistics(weights: Tensor, sink: Sink) -> HeadStatistics:
    """Statistics of each head from attention weights (heads, T, T)."""
    return statistics_from([_sums(weights, ())], "full", None)[0].heads[sink]


def pair_columns(names: Sequence[str]) -> list[str]:
    """Names of what `pair_statistics` gives for these names, in their order. Raises ValueError for an unknown one."""
    columns = []
    for name in names:
        if name not in PAIR_STATISTICS:
            raise ValueError(f"unknown statistic of pairs '{name}': choose from {', '.join(PAIR_STATISTICS)}")
        columns += [name, "pattern_correlation_full"] if name == "pattern_correlation" else [name]
    return columns


def pair_statistics(layer: LayerAttention, names: Sequence[str], sink: Sink) -> dict[str, Tensor]:
    """Statistics of all pairs of heads of a layer, by name: each float64, one value per pair.

    Pairs i < j are in the order of `numpy.triu_indices(heads, 1)`. The keys are `pair_columns(names)`, without
    output_cka where the sink is dropped.

    hellinger: mean squared Hellinger distance of query rows, within 0..1. With row masses m it is
        (m_i + m_j) / 2 - sum_k sqrt(A_i A_j) = sum_k (sqrt(A_i) - sqrt(A_j))^2 / 2, which for rows that sum to 1 is
        1 - sum_k sqrt(A_i A_j); equal heads get 0 although float32 rows sum to 1 within rounding only.
    js_divergence: mean Jensen-Shannon divergence (Lin 1991) of query rows, base 2, within 0..1; the same sums of
        x log2 (x / middle) for rows that sum to less than 1.
    pattern_correlation: Pearson correlation of the attention entries over the support (lower triangle with diagonal;
        the full matrix for encoders), within -1..1. Without the sink, key 0 is outside. NaN where a pattern is so
        nearly constant that float32 rounding shows, which takes all rows but one or two to be left out.
    pattern_correlation_full: the same over the full matrix, structural zeros included.
    output_cka: see `cka.output_cka`.

    Rows of attention that either head leaves out do not count. hellinger and js_divergence pass over row 0, too, which
    in a causal model is the same for all heads; they are NaN where no row remains.
    """
    return dict(statistics_of(layer, names).pairs[sink])


def no_projection(layer: int) -> str:
    """Why a layer has no output_cka, and what to do."""
    return (
        f"layer {layer}: output_cka needs an output projection that is a plain matrix, and "
        "this model has none: remove output_cka from specialization.estimators."
    )


def _sums(weights: Tensor, names: Sequence[str]) -> LayerSums:
    sums = LayerSums(weights.shape[-1], names)
    for first, tile in row_tiles(weights):
        sums.add(first, tile.double())
    return sums


def _pair_statistics(sums: Sums, names: Sequence[str], exact: bool, support: Support) -> dict[str, Tensor]:
    """See `pair_statistics`: each (sinks, layers, pairs). exact: whether sums within tiles were in float64."""
    statistics: dict[str, Tensor] = {}
    if not set(names) - {"output_cka"}:
        return statistics
    pairs = sums.pairs()
    # No row is no value: what is zero within rounding only would have an infinite share of nothing.
    later_rows = pairs.later_rows.masked_fill(pairs.later_rows == 0, math.nan)
    for name in names:
        if name == "hellinger":
            assert pairs.distances is not None, "added up where wanted"
            statistics[name] = upper((pairs.distances / later_rows).clamp(0, 1))
        elif name == "js_divergence":
            assert sums.divergences is not None, "added up where wanted"
            statistics[name] = (sums.divergences / (2 * upper(later_rows))).clamp(0, 1)
        elif name == "pattern_correlation":
            smallest = SMALLEST_VARIANCE if exact else SMALLEST_VARIANCE_OF_TILES
            within = pairs.causal_entries if support == "causal" else pairs.all_entries
            both = upper(_pearson(pairs, torch.stack([within, pairs.all_entries]), smallest))
            statistics[name], statistics["pattern_correlation_full"] = both
    return statistics


def _pearson(pairs: Pairs, entries: Tensor, smallest_variance: float) -> Tensor:
    """Pearson over the included entries, (..., heads, heads); NaN below this share of variance in the mean square.

    These differ from pair to pair where heads leave out different rows, so sums run over row sums: `pairs.sums[i, j]`
    is the sum of head i's entries in the rows that head j includes too.
    """
    assert pairs.products is not None, "added up where wanted"
    assert pairs.squares is not None, "added up with products"
    covariance = pairs.products - pairs.sums * pairs.sums.mT / entries
    variance = pairs.squares - pairs.sums.square() / entries
    variance = variance.masked_fill(variance <= smallest_variance * pairs.squares, math.nan)
    return (covariance / (variance * variance.mT).sqrt()).clamp(-1, 1)
