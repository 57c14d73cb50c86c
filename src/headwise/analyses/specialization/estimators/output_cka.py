"""One minus the similarity of what two heads write into the residual stream, averaged over pairs of heads.

The similarity is debiased linear CKA (Kornblith et al. 2019, unbiased HSIC of Song et al. 2012) between the
heads' writes z W_O over the tokens of a prompt. Heads that look at different tokens but write the same are
not diverse, and the other way round (cf. Kobayashi et al. 2020).

Known failure: debiasing needs four tokens, and is noisy for not many more; values may pass 1. It has no
meaning with the sink dropped, since the write is made of all keys.
"""

from headwise.analyses.specialization.measured import Measured
from headwise.analyses.specialization.registry import Estimator, mean_over_layers
from headwise.statistics.arrays import FloatArray


def features(measured: Measured, sink: str) -> FloatArray:
    """One minus the mean over pairs of heads: (prompts, layers, 1), within 0…2."""
    return 1 - measured.pair_mean("output_cka", sink)


ESTIMATOR = Estimator(
    name="output_cka",
    definition="1 − mean over i<j of debiased linear CKA(zᵢ W_Oⁱ, zⱼ W_Oʲ)",
    source="Kornblith et al. 2019, with unbiased HSIC (Song et al. 2012)",
    low=0.0,
    high=2.0,
    features=features,
    summary=mean_over_layers,
    sinks=("kept",),
)
