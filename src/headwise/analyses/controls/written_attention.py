"""Controls on attention that is written down, where every estimator of a pair of heads has a known value."""

from collections.abc import Iterator

import torch

from headwise.analyses.controls.control import Control, within
from headwise.attention.capture import LayerAttention
from headwise.attention.layer_statistics import pair_statistics
from headwise.attention.pair_statistics import PAIR_STATISTICS

BASIS = "made-up attention"
HEADS, TOKENS, WIDTH = 6, 24, 8
# Statistics are float32 sums of up to TOKENS² terms.
TOLERANCE = 1e-5


def written_attention_controls(statistics: list[str], seed: int = 1) -> Iterator[Control]:
    """Cloned heads, heads that look at different keys, and heads in another order, for the statistics in use."""
    generator = torch.Generator().manual_seed(seed)
    layer = _layer(_rows(generator), generator)
    names = [name for name in statistics if name in PAIR_STATISTICS]
    clones = LayerAttention(
        layer=0,
        weights=layer.weights[:1].repeat(HEADS, 1, 1),
        head_outputs=layer.head_outputs[:, :1].repeat(1, HEADS, 1),
        output_projection=_projection(layer)[:1].repeat(HEADS, 1, 1),
        support="causal",
    )
    alike = pair_statistics(clones, names, "kept")
    apart = pair_statistics(_disjoint(generator), names, "kept")
    order = torch.randperm(HEADS, generator=generator)
    reordered = LayerAttention(
        layer=0,
        weights=layer.weights[order],
        head_outputs=layer.head_outputs[:, order],
        output_projection=_projection(layer)[order],
        support="causal",
    )
    before, after = (pair_statistics(each, names, "kept") for each in (layer, reordered))
    for name in names:
        # Correlation and CKA are similarities: 1 for clones.
        known = 1.0 if name in ("pattern_correlation", "output_cka") else 0.0
        farthest = float((alike[name].double() - known).abs().max())
        yield within(
            f"cloned heads, {name}", BASIS, f"{known:g} for every pair", known + farthest, known, TOLERANCE,
            "the value farthest from it",
        )  # fmt: skip
        if name in ("hellinger", "js_divergence"):
            farthest = float((apart[name].double() - 1).abs().max())
            yield within(
                f"heads that look at different keys, {name}", BASIS, "1 for every pair", 1 - farthest, 1.0, TOLERANCE,
                "the value farthest from it",
            )  # fmt: skip
        change = float((after[name].double().nanmean() - before[name].double().nanmean()).abs())
        yield within(f"heads in another order, {name}", BASIS, "no change of the mean", change, 0.0, TOLERANCE)


def _rows(generator: torch.Generator) -> torch.Tensor:
    """Random causal attention (heads, T, T)."""
    scores = 3 * torch.randn(HEADS, TOKENS, TOKENS, generator=generator)
    causal = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    return scores.masked_fill(~causal, -torch.inf).softmax(-1)


def _layer(weights: torch.Tensor, generator: torch.Generator) -> LayerAttention:
    return LayerAttention(
        layer=0,
        weights=weights,
        head_outputs=torch.randn(TOKENS, HEADS, WIDTH, generator=generator),
        output_projection=torch.randn(HEADS, WIDTH, HEADS * WIDTH, generator=generator),
        support="causal",
    )


def _disjoint(generator: torch.Generator) -> LayerAttention:
    """Heads of which no two look at the same key; encoder-like, so that every query can choose among all keys."""
    owner = torch.arange(TOKENS) % HEADS
    weights = torch.rand(HEADS, TOKENS, TOKENS, generator=generator)
    weights = weights * (owner == torch.arange(HEADS)[:, None])[:, None, :]
    layer = _layer(weights / weights.sum(-1, keepdim=True), generator)
    return LayerAttention(0, layer.weights, layer.head_outputs, layer.output_projection, "full")


def _projection(layer: LayerAttention) -> torch.Tensor:
    assert layer.output_projection is not None
    return layer.output_projection
