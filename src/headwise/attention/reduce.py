"""What is kept of one layer's attention on one prompt: statistics of single heads and of all pairs of heads.

All in float64 and, where the definition allows, as one matrix product over all pairs. `sink` says whether
all keys count ("kept") or key 0 is removed and the rows renormalised ("dropped"). Every statistic is a sum over query
rows, or has one value per row, so a long prompt is taken a few rows at a time: beside the weights themselves no more
than some 100 MB are needed, whatever the length.

Rows of models with learned sinks (GPT-OSS) sum to less than 1: a share of each goes to no key. With "kept" they count
as they are: the share is no key, adds nothing to an entropy or divergence and is not redistributed. Two heads that
differ in their shares alone then do differ, and an entropy is no longer that of a distribution (a row of total m whose
entropy is S when renormalised has m S - m ln m). With "dropped" the rows are renormalised, and the share is gone.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwise.attention.capture import LayerAttention
from headwise.attention.sinks import Sink
from headwise.attention.tiles import row_tiles, rows_at_once
from headwise.study.specialization import PAIR_STATISTICS

# A row that has less than this left without key 0 says nothing about the other keys.
SMALLEST_MASS = 1e-6
# Variance below this share of the mean square is rounding of float32 (its square is 1.4e-14), not a pattern.
SMALLEST_VARIANCE = 1e-12
# Debiased HSIC divides by T (T - 3).
FEWEST_TOKENS_FOR_CKA = 4


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
    heads, tokens, _ = weights.shape
    received = weights.new_zeros(heads, tokens, dtype=torch.float64)
    entropies, counted = [], []
    for rows in _row_tiles(weights, sink):
        entropies.append(entropy_nats(rows.weights).masked_fill(rows.counted == 0, math.nan))
        counted.append(rows.counted)
        received[:, : rows.weights.shape[-1]] += rows.weights.sum(-2)
    rows_counted = torch.cat(counted, -1).sum(-1)
    return HeadStatistics(
        rows_left_out=tokens - rows_counted.long(),
        row_entropy_nats=torch.cat(entropies, -1),
        received=received / rows_counted[:, None],
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
    sums: dict[str, Tensor] = {}
    for rows in _row_tiles(layer.weights, sink):
        for name, value in _pair_sums(rows, layer, names, sink).items():
            sums[name] = sums[name] + value if name in sums else value
    statistics = {}
    if "hellinger" in names:
        mass = sums["mass"]
        statistics["hellinger"] = _upper((((mass + mass.T) / 2 - sums["overlap"]) / sums["rows"]).clamp(0, 1))
    if "js_divergence" in names:
        # No row is no value: the difference is then zero within rounding only, and its share of nothing infinite.
        rows_in_common = _upper(sums["rows"]).masked_fill(_upper(sums["rows"]) == 0, math.nan)
        difference = sums["joint_entropy"] / math.log(2) + _upper(sums["mass"]) + _upper(sums["mass"].T)
        statistics["js_divergence"] = (difference / (2 * rows_in_common)).clamp(0, 1)
    if "pattern_correlation" in names:
        statistics["pattern_correlation"] = _upper(_pearson(sums, "entries_of_support"))
        statistics["pattern_correlation_full"] = _upper(_pearson(sums, "entries_of_matrix"))
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
    # The Gram matrix of writes z W is z (W W^T) z^T, in the head's width instead of the model's.
    outputs, projection = head_outputs.transpose(0, 1).double(), output_projection.double()
    weighted = outputs @ (projection @ projection.mT)

    def gram_tiles() -> Iterator[tuple[slice, Tensor]]:
        at_once = rows_at_once(heads, tokens)
        for first in range(0, tokens, at_once):
            rows = slice(first, first + at_once)
            gram = weighted[:, rows] @ outputs.mT
            gram.diagonal(first, dim1=1, dim2=2).zero_()
            yield rows, gram

    row_sums = torch.cat([gram.sum(-1) for _, gram in gram_tiles()], -1) / (tokens - 2)
    total = row_sums.sum(-1) / (tokens - 1)
    products = squares = torch.zeros((), dtype=torch.float64, device=outputs.device)
    for rows, gram in gram_tiles():
        squares = squares + gram.square().sum((1, 2))
        gram += total[:, None, None] - row_sums[:, rows, None] - row_sums[:, None, :]
        gram.diagonal(rows.start, dim1=1, dim2=2).zero_()
        products = products + _gram(gram)
    norms = products.diagonal()
    norms = norms.masked_fill(norms <= SMALLEST_VARIANCE * squares, math.nan)
    return _upper((products / (norms[:, None] * norms[None, :]).sqrt()).clamp(-1, 1))


@dataclass(frozen=True)
class _Rows:
    """Rows as distributions: weights float64 (H, rows, keys), zero in rows left out; counted (H, rows), 0 or 1; first,
    the position of the first of these rows."""

    weights: Tensor
    counted: Tensor
    first: int

    def after_first(self) -> "_Rows":
        """Without row 0 of the prompt, where it is among these."""
        return self if self.first else _Rows(self.weights[:, 1:], self.counted[:, 1:], 1)


def _row_tiles(weights: Tensor, sink: Sink) -> Iterator[_Rows]:
    for first, tile in row_tiles(weights):
        rows = tile.double()
        if sink == "kept":
            yield _Rows(rows, rows.new_ones(rows.shape[:2]), first)
            continue
        rows = torch.nn.functional.pad(rows[..., 1:], (1, 0))
        mass = rows.sum(-1)
        counted = (mass >= SMALLEST_MASS).double()
        rows *= (counted / mass.clamp(min=SMALLEST_MASS))[..., None]
        yield _Rows(rows, counted, first)


def _pair_sums(rows: _Rows, layer: LayerAttention, names: Sequence[str], sink: Sink) -> dict[str, Tensor]:
    """What statistics of pairs are made of, over some rows: (H, H), but joint_entropy one value per pair.

    mass: of head i in the rows that head j counts too; rows: how many both count; overlap: sum of sqrt(A_i A_j).
    joint_entropy: see `_joint_entropy`. products, sums, squares: of entries, as `_pearson` needs them.
    """
    sums = {}
    if "hellinger" in names or "js_divergence" in names:
        later = rows.after_first()
        # Rows that a head leaves out are zero there: they add nothing to the overlap, nor to the mass.
        sums["mass"] = later.weights.sum(-1) @ later.counted.T
        sums["rows"] = later.counted @ later.counted.T
        if "hellinger" in names:
            sums["overlap"] = _gram(later.weights.sqrt())
        if "js_divergence" in names:
            sums["joint_entropy"] = _joint_entropy(later)
    if "pattern_correlation" in names:
        sums["products"] = _gram(rows.weights)
        sums["sums"] = rows.weights.sum(-1) @ rows.counted.T
        sums["squares"] = rows.weights.square().sum(-1) @ rows.counted.T
        tokens, removed_keys = layer.weights.shape[-1], 1 if sink == "dropped" else 0
        everywhere = rows.counted.new_full(rows.counted.shape[1:], float(tokens))
        visible = everywhere if layer.support == "full" else everywhere.new_ones(len(everywhere)).cumsum(0) + rows.first
        sums["entries_of_support"] = (rows.counted * (visible - removed_keys)) @ rows.counted.T
        sums["entries_of_matrix"] = (rows.counted * (everywhere - removed_keys)) @ rows.counted.T
    return sums


def _gram(matrices: Tensor) -> Tensor:
    """Inner products of all pairs of matrices (H, m, n), as (H, H)."""
    flat = matrices.flatten(1)
    return flat @ flat.T


def _upper(matrix: Tensor) -> Tensor:
    """The strict upper triangle, row by row."""
    i, j = torch.triu_indices(len(matrix), len(matrix), offset=1, device=matrix.device)
    return matrix[i, j]


def _joint_entropy(rows: _Rows) -> Tensor:
    """S(a + b) - S(a) - S(b) in nats, S = -sum x ln x, over the rows of each pair of heads.

    Twice the divergence of two rows is this + 2 ln 2. Row by row that holds for the rows that both heads count. Others
    add nothing to the difference of S, since one of the two is zero there.
    """
    # Most entries are above the diagonal, outside the window or the dropped key: nobody attends there.
    entries = rows.weights.flatten(1)
    entries = entries[:, (entries > 0).any(0)]
    entropy = entropy_nats(entries)
    i, j = torch.triu_indices(len(entries), len(entries), offset=1, device=entries.device)
    pairs_at_once = rows_at_once(1, entries.shape[1])
    joint = torch.cat(
        [
            entropy_nats(entries[first] + entries[second])
            for first, second in zip(i.split(pairs_at_once), j.split(pairs_at_once), strict=True)
        ]
    )
    return joint - entropy[i] - entropy[j]


def _pearson(sums: Mapping[str, Tensor], entries: str) -> Tensor:
    """Pearson over the entries that count, (H, H).

    These differ from pair to pair where heads leave out different rows, so sums run over row sums: `sums[i, j]` is the
    sum of head i's entries in the rows that head j counts too.
    """
    total, count = sums["sums"], sums[entries]
    covariance = sums["products"] - total * total.T / count
    variance = sums["squares"] - total.square() / count
    variance = variance.masked_fill(variance <= SMALLEST_VARIANCE * sums["squares"], math.nan)
    return (covariance / (variance * variance.T).sqrt()).clamp(-1, 1)
