"""One minus the mean entropy of the last layer's attention rows, relative to the largest for 128 keys.

This is what the command-line tool of D'Elia's release computes. There every prompt is padded to 128 tokens and pads
count; here ln 128 stays the unit, and prompts are not padded. The variant of the extraction with `padding: tokenizer`
and `averaging: unmasked` gives the tool's number (docs/variants.md).

Known failure: it says how sharp heads are, not how they differ: heads that do the same are "specialized" when
they are sharp. Row entropy cannot exceed the logarithm of the query's position, so short prompts score high
whatever the model does.
"""

import numpy as np

from headwise.analyses.specialization.measured import Measured, defined_mean
from headwise.analyses.specialization.registry import Estimator
from headwise.statistics.arrays import FloatArray

LONGEST = 128  # tokens that the release pads prompts to


def features(measured: Measured, sink: str) -> FloatArray:
    """1 − H / ln 128, H the mean row entropy in nats over heads and queries: (prompts, layers, 1).

    Within 0…1 for prompts of up to 128 tokens.
    """
    entropies = [
        defined_mean(rows.reshape(len(rows), -1).astype(np.float64), axis=-1)
        for rows in measured.row_entropy_nats[sink]
    ]
    return (1 - np.array(entropies) / np.log(LONGEST))[..., None]


def last_layer(mean_features: FloatArray) -> FloatArray:
    """(..., layers, 1) → (...)."""
    return mean_features[..., -1, 0]


ESTIMATOR = Estimator(
    name="normalized_entropy",
    definition="1 − H / ln 128, H the mean row entropy (nats) of the last layer",
    source="D'Elia 2026, released command-line tool",
    low=-np.inf,
    high=1.0,
    features=features,
    summary=last_layer,
    minimum_heads=1,
)
