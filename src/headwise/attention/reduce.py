"""What is kept of one layer's attention on one prompt: statistics of single heads and of all pairs of heads.

All in float64 and, where the definition allows, as one matrix product over all pairs. `sink` says whether
all keys count ("kept") or key 0 is removed and the rows renormalised ("dropped").

Rows of models with learned sinks (GPT-OSS) sum to less than 1: a share of each goes to no key. With "kept" they count
as they are: the share is no key, adds nothing to an entropy or divergence and is not redistributed. Two heads that
differ in their shares alone then do differ, and an entropy is no longer that of a distribution (a row of total m whose
entropy is S when renormalised has m S - m ln m). With "dropped" the rows are renormalised, and the share is gone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwise.attention.capture import LayerAttention, Support
from headwise.attention.sinks import Sink
from headwise.study.specialization import PAIR_STATISTICS

# A row that has less than this left without key 0 says nothing about the other keys.
SMALLEST_MASS = 1e-6
# Variance below this share of the mean square is rounding of float32 (its square is 1.4e-14), not a pattern.
SMALLEST_VARIANCE = 1e-12
# Debiased HSIC divides by T (T - 3).
FEWEST_TOKENS_FOR_CKA = 4
# Entries of attention held at once where pairs are compared entry by entry: 32 MB in float64.
ENTRIES_AT_ONCE = 2**22


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


def head_statistics(weights: Tensor, sink: Sink) -> HeadStatistics:
    """Statistics of each head from attention weights (heads, T, T)."""
    rows = _rows(weights, sink)
    entropy = entropy_nats(rows.weights)
    rows_counted = rows.counted.sum(-1)
    return HeadStatistics(
        rows_left_out=weights.shape[-1] - rows_counted.long(),
        row_entropy_nats=entropy.masked_fill(rows.counted == 0, math.nan),
        received=rows.weights.sum(-2) / rows_counted[:, None],
    )


def entropy_nats(weights: Tensor) -> Tensor:
    """-sum x ln x over the last dimension of float64 weights, with 0 ln 0 = 0."""
    # As torch.special.entr, whose logarithm is not vectorised: this takes a third of the time.
    return -(weights * weights.clamp(min=torch.finfo(torch.float64).tiny).log()).sum(-1)


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
        the full matrix for encoders), within -1..1. Without the sink, key 0 is outside. NaN where a pattern is constant
        within float32 rounding.
    pattern_correlation_full: the same over the full matrix, structural zeros included.
    output_cka: see `output_cka`.

    Rows of attention that either head leaves out do not count. hellinger and js_divergence pass over row 0, too, which
    in a causal model is the same for all heads; they are NaN where no row remains.
    """
    statistics = {}
    rows = _rows(layer.weights, sink)
    if "hellinger" in names:
        statistics["hellinger"] = _upper(_hellinger(rows.after_first()))
    if "js_divergence" in names:
        statistics["js_divergence"] = _js_divergence(rows.after_first())
    if "pattern_correlation" in names:
        over_support, over_matrix = _pearson(rows, layer.support, sink)
        statistics["pattern_correlation"] = _upper(over_support)
        statistics["pattern_correlation_full"] = _upper(over_matrix)
    if "output_cka" in names and sink == "kept":
        if layer.output_projection is None:
            raise ValueError(
                f"layer {layer.layer}: output_cka needs an output projection that is a plain matrix, and "
                "this model has none: remove output_cka from specialization.estimators."
            )
        statistics["output_cka"] = output_cka(layer.head_outputs, layer.output_projection)
    return statistics


def output_cka(head_outputs: Tensor, output_projection: Tensor) -> Tensor:
    """Debiased linear CKA of the heads' writes z_h W_O^h over the T tokens of a prompt, for all pairs i < j.

    head_outputs: (T, heads, head width); output_projection: (heads, head width, hidden). Returns one float64 value per
    pair, within -1..1, NaN below 4 tokens and where a head writes the same at every token within float32 rounding.

    CKA after Kornblith et al. (2019), with the unbiased estimator of HSIC of Song et al. (2012), computed as the inner
    product of U-centred Gram matrices (Székely and Rizzo 2014), which is the same number without cancellation.
    """
    tokens, heads, _ = head_outputs.shape
    if tokens < FEWEST_TOKENS_FOR_CKA:
        return head_outputs.new_full((heads * (heads - 1) // 2,), math.nan, dtype=torch.float64)
    writes = head_outputs.transpose(0, 1).double() @ output_projection.double()
    gram = writes @ writes.mT
    gram.diagonal(dim1=1, dim2=2).zero_()
    row_sums = gram.sum(-1) / (tokens - 2)
    total = row_sums.sum(-1) / (tokens - 1)
    centred = gram - row_sums[:, :, None] - row_sums[:, None, :] + total[:, None, None]
    centred.diagonal(dim1=1, dim2=2).zero_()
    products = _gram(centred)
    norms = products.diagonal()
    constant = norms <= SMALLEST_VARIANCE * gram.square().sum((1, 2))
    norms = norms.masked_fill(constant, math.nan)
    return _upper((products / (norms[:, None] * norms[None, :]).sqrt()).clamp(-1, 1))


@dataclass(frozen=True)
class _Rows:
    """Rows as distributions: weights float64 (H, T, T), zero in rows left out; counted (H, T), 0 or 1."""

    weights: Tensor
    counted: Tensor

    def after_first(self) -> "_Rows":
        return _Rows(self.weights[:, 1:], self.counted[:, 1:])


def _rows(weights: Tensor, sink: Sink) -> _Rows:
    rows = weights.double()
    if sink == "kept":
        return _Rows(rows, rows.new_ones(rows.shape[:2]))
    rows = torch.nn.functional.pad(rows[..., 1:], (1, 0))
    mass = rows.sum(-1)
    counted = (mass >= SMALLEST_MASS).double()
    rows *= (counted / mass.clamp(min=SMALLEST_MASS))[..., None]
    return _Rows(rows, counted)


def _gram(matrices: Tensor) -> Tensor:
    """Inner products of all pairs of matrices (H, m, n), as (H, H)."""
    flat = matrices.flatten(1)
    return flat @ flat.T


def _upper(matrix: Tensor) -> Tensor:
    """The strict upper triangle, row by row."""
    i, j = torch.triu_indices(len(matrix), len(matrix), offset=1, device=matrix.device)
    return matrix[i, j]


def _hellinger(rows: _Rows) -> Tensor:
    # Rows that a head leaves out are zero there: they add nothing to the overlap, nor to the mass.
    overlap = _gram(rows.weights.sqrt())
    mass, both_counted = _common_rows(rows)
    return (((mass + mass.T) / 2 - overlap) / both_counted).clamp(0, 1)


def _js_divergence(rows: _Rows) -> Tensor:
    """Twice the divergence of two rows is, in nats, S(a + b) - S(a) - S(b) + 2 ln 2, with S = -sum x ln x.

    Row by row this holds for the rows that both heads count. Others add nothing to the difference of S, since
    one of the two is zero there.
    """
    # Most entries are above the diagonal, outside the window or the dropped key: nobody attends there.
    entries = rows.weights.flatten(1)
    entries = entries[:, (entries > 0).any(0)]
    entropy = entropy_nats(entries)
    i, j = torch.triu_indices(len(entries), len(entries), offset=1, device=entries.device)
    pairs_at_once = max(1, ENTRIES_AT_ONCE // max(1, entries.shape[1]))
    joint = torch.cat(
        [
            entropy_nats(entries[first] + entries[second])
            for first, second in zip(i.split(pairs_at_once), j.split(pairs_at_once), strict=True)
        ]
    )
    difference = (joint - entropy[i] - entropy[j]) / math.log(2)
    mass, both_counted = _common_rows(rows)
    return ((difference + mass[i, j] + mass[j, i]) / (2 * both_counted[i, j])).clamp(0, 1)


def _common_rows(rows: _Rows) -> tuple[Tensor, Tensor]:
    """The mass of head i in the rows that head j counts too, and how many rows both count; both (H, H)."""
    return rows.weights.sum(-1) @ rows.counted.T, rows.counted @ rows.counted.T


def _pearson(rows: _Rows, support: Support, sink: Sink) -> tuple[Tensor, Tensor]:
    """Pearson over the support and over the full matrix, each (H, H).

    The entries that count differ from pair to pair where heads leave out different rows, so sums run over
    row sums: `sums[i, j]` is the sum of head i's entries in the rows that head j counts too.
    """
    tokens = rows.weights.shape[-1]
    products = _gram(rows.weights)
    sums = rows.weights.sum(-1) @ rows.counted.T
    squares = rows.weights.square().sum(-1) @ rows.counted.T
    keys_everywhere = rows.counted.new_full((tokens,), float(tokens))
    keys_visible = keys_everywhere if support == "full" else keys_everywhere.new_ones(tokens).cumsum(0)
    removed_keys = 1 if sink == "dropped" else 0
    correlations = []
    for keys in (keys_visible, keys_everywhere):
        entries = (rows.counted * (keys - removed_keys)) @ rows.counted.T
        covariance = products - sums * sums.T / entries
        variance = squares - sums.square() / entries
        variance = variance.masked_fill(variance <= SMALLEST_VARIANCE * squares, math.nan)
        correlations.append((covariance / (variance * variance.T).sqrt()).clamp(-1, 1))
    return correlations[0], correlations[1]
