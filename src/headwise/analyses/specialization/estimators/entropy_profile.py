"""One minus the mean correlation, over layers, between the entropies of two head indices: every published SI.

D'Elia's notebooks average each head's attention over queries, take its entropy over the keys that receive
any, and divide by the logarithm of their number. E[l, h] is the mean over prompts; the index correlates the
columns of E.

Known failure: "head 3" of layer 1 and "head 3" of layer 2 have nothing in common but the number. What all
columns share is how entropy changes with depth, so the index measures how steep that profile is: about the
variance within layers over the total variance. Shuffling heads within each layer hardly moves it, which the
head-permutation check shows. Averaging over queries also makes a head that attends to a moving position look uniform.
"""

import numpy as np

from headwise.analyses.specialization.measured import Measured, defined_mean
from headwise.analyses.specialization.registry import Companion, Estimator
from headwise.statistics.arrays import FloatArray
from headwise.statistics.ties import tolerance

CONSTANT = "fewer than two heads whose entropy varies over layers"


def features(measured: Measured, sink: str) -> FloatArray:
    """Normalised entropy of the attention that keys receive: (prompts, layers, heads), within 0…1.

    0 where one key alone receives attention, NaN where none does (all rows left out).
    """
    return np.array([_normalized_entropy(received.astype(np.float64)) for received in measured.received[sink]])


def _normalized_entropy(received: FloatArray) -> FloatArray:
    """Base-2 entropy over the non-zero of (..., keys) masses, divided by log2 of their number: (...)."""
    total = received.sum(axis=-1)
    total = np.where(total > 0, total, np.nan)  # also where the total is NaN
    shares = received / total[..., None]
    positive = shares > 0
    count = positive.sum(axis=-1)
    entropy = -np.sum(np.where(positive, shares, 0.0) * np.log2(np.where(positive, shares, 1.0)), axis=-1)
    normalized = np.where(count > 1, entropy / np.log2(np.maximum(count, 2)), 0.0)
    return np.where(np.isnan(total), np.nan, normalized)


def mean_head_correlation(profile: FloatArray) -> FloatArray:
    """Mean over pairs of heads of the correlation over layers: (..., layers, heads) → (...).

    Equals `nanmean` of the strict upper triangle of `corrcoef(E.T)`: heads that are constant, or undefined in
    some layer, have no correlation and are left out. The sum over pairs of unit vectors z is (|Σz|² − n) / 2.
    """
    if profile.shape[-2] < 2:
        return np.full(profile.shape[:-2], np.nan)
    centred = profile - profile.mean(axis=-2, keepdims=True)
    length = np.sqrt(np.sum(centred**2, axis=-2))
    # A column of E that is constant but for rounding has no correlation with anything.
    varies = length > tolerance(np.abs(profile).max(axis=-2), profile.shape[-2])
    units = np.where(varies[..., None, :], centred, 0.0) / np.where(varies, length, 1.0)[..., None, :]
    count = varies.sum(axis=-1)
    pairs = count * (count - 1)
    return (np.sum(units.sum(axis=-1) ** 2, axis=-1) - count) / np.where(pairs > 0, pairs, np.nan)


def summary(profile: FloatArray) -> FloatArray:
    """The index of mean entropies E: (..., layers, heads) → (...)."""
    return 1 - mean_head_correlation(profile)


def layer_variance(profile: FloatArray) -> FloatArray:
    """Variance over heads (ddof 0) in each layer: (layers, heads) → (layers,)."""
    mean = defined_mean(profile, axis=-1)
    return defined_mean((profile - mean[:, None]) ** 2, axis=-1)


def mean_head_variance(profile: FloatArray) -> FloatArray:
    """Mean over layers of the variance over heads: (layers, heads) → ()."""
    return defined_mean(layer_variance(profile), axis=-1)


def effective_heads(profile: FloatArray) -> FloatArray:
    """2^entropy of the heads' shares of mean entropy: (layers, heads) → (), within 1…H and always near H."""
    mean = defined_mean(profile, axis=0)
    mean = np.where(np.isfinite(mean), mean, 0.0)
    if not mean.any():
        return np.array(np.nan)
    shares = mean / mean.sum()
    return np.exp2(-np.sum(shares * np.log2(np.where(shares > 0, shares, 1.0))))


def thirds(layers: int) -> dict[str, slice]:
    """The release's regions of depth: two of layers // 3, the last with what remains."""
    third = layers // 3
    return {"early": slice(0, third), "middle": slice(third, 2 * third), "late": slice(2 * third, layers)}


def _local(region: str) -> Companion:
    return Companion(
        name=f"local_{region}",
        definition=f"the index on the {region} third of the depth",
        summary=lambda profile: summary(profile[thirds(len(profile))[region]]),
        undefined="fewer than two layers, or than two heads whose entropy varies over them, in this third",
    )


ESTIMATOR = Estimator(
    name="entropy_profile",
    definition="1 − mean over i<j of Pearson(E[:, i], E[:, j]), E the entropy of attention received",
    source="D'Elia 2026, released notebooks",
    low=0.0,
    high=2.0,
    features=features,
    summary=summary,
    per_layer=False,
    minimum_layers=2,
    undefined=CONSTANT,
    companions=(
        Companion("mean_head_correlation", "1 − the index", mean_head_correlation, undefined=CONSTANT),
        Companion("mean_head_variance", "mean over layers of the variance over heads of E", mean_head_variance),
        Companion("effective_heads", "2^entropy of the heads' shares of mean entropy", effective_heads),
        Companion("layer_variance", "variance over heads of E in each layer", layer_variance, per_layer=True),
        *map(_local, ("early", "middle", "late")),
    ),
)
