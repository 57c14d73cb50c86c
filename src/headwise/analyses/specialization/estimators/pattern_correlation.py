"""One minus the Pearson correlation between the attention matrices of two heads, averaged over pairs.

The correlation is over the entries that can be non-zero: the lower triangle with diagonal, for an encoder the
full matrix. D'Elia states this index (equation 1), but no published number was computed with it.

Known failure: rows of early queries have few, large entries and dominate. Over the full matrix of a causal
model the structural zeros above the diagonal raise every correlation; the companion `full_support` shows by how much.
"""

from headwise.analyses.specialization.measured import Measured
from headwise.analyses.specialization.registry import Companion, Estimator, mean_over_layers
from headwise.statistics.arrays import FloatArray


def features(measured: Measured, sink: str) -> FloatArray:
    """One minus the mean over pairs of heads: (prompts, layers, 1), within 0…2."""
    return 1 - measured.pair_mean("pattern_correlation", sink)


def full_features(measured: Measured, sink: str) -> FloatArray:
    """As `features`, with the correlation over the full T×T matrix."""
    return 1 - measured.pair_mean("pattern_correlation_full", sink)


ESTIMATOR = Estimator(
    name="pattern_correlation",
    definition="1 − mean over i<j of Pearson(vec Aᵢ, vec Aⱼ) over the causal support",
    source="D'Elia 2026, eq. 1",
    low=0.0,
    high=2.0,
    features=features,
    summary=mean_over_layers,
    companions=(
        Companion(
            name="full_support",
            definition="the same over the full T×T matrix, structural zeros included",
            summary=mean_over_layers,
            features=full_features,
        ),
    ),
)
