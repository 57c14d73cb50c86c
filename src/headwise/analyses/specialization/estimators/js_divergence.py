"""Jensen–Shannon divergence between the attention rows of two heads, averaged over pairs of heads.

For the rows of query q ≥ 1 of heads i and j, with M their mean, it is (KL(Aᵢ[q] ‖ M) + KL(Aⱼ[q] ‖ M)) / 2 in
base 2, within 0…1. Clark et al. compare heads by it. Secondary here: it should rank models as `hellinger` does.

Known failure: as `hellinger`, it calls heads alike that share a dominant first token.
"""

from headwise.analyses.specialization.measured import Measured
from headwise.analyses.specialization.registry import Estimator, mean_over_layers
from headwise.statistics.arrays import FloatArray


def features(measured: Measured, sink: str) -> FloatArray:
    """Mean over pairs of heads: (prompts, layers, 1), within 0…1."""
    return measured.pair_mean("js_divergence", sink)


ESTIMATOR = Estimator(
    name="js_divergence",
    definition="mean over i<j and queries q≥1 of Jensen–Shannon(Aᵢ[q], Aⱼ[q]), base 2",
    source="Clark et al. 2019, section 6",
    low=0.0,
    high=1.0,
    features=features,
    summary=mean_over_layers,
)
