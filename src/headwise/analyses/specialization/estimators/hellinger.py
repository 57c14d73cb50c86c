"""Squared Hellinger distance between the attention rows of two heads, averaged over pairs of heads.

For the rows of query q ≥ 1 of heads i and j it is 1 − Σₖ √(Aᵢ[q,k] Aⱼ[q,k]), a proper f-divergence within
0…1. Nothing is pooled over positions and head numbers carry no meaning, so the value compares heads where
they differ: query by query.

Known failure: two heads that both put nearly all mass on the first token are alike under it, whatever they do
with the rest; compare with the sink dropped.
"""

from headwise.analyses.specialization.measured import Measured
from headwise.analyses.specialization.registry import Estimator, mean_over_layers
from headwise.statistics.arrays import FloatArray


def features(measured: Measured, sink: str) -> FloatArray:
    """Mean over pairs of heads: (prompts, layers, 1), within 0…1."""
    return measured.pair_mean("hellinger", sink)


ESTIMATOR = Estimator(
    name="hellinger",
    definition="mean over i<j and queries q≥1 of 1 − Σₖ √(Aᵢ[q,k] Aⱼ[q,k])",
    source="squared Hellinger distance (Hellinger 1909), averaged here over queries and pairs",
    low=0.0,
    high=1.0,
    features=features,
    summary=mean_over_layers,
)
