"""What heads do, beside where they look: how alike two heads are in what they write, and in what their ablation costs.

writes            debiased linear CKA (Kornblith et al. 2019; Song et al. 2012) of the writes z W_O of two heads, over
                  the tokens of all prompts
ablation profile  Pearson's r of two heads' profiles: by how much the loss at each token of held-out text rises where
                  the head writes zeros

Chance is the same number where the two heads read different texts: neighbours in length, cut to the shorter.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedModel

from headwise.analyses.stability.ablation import ablatable_layers, reading_outputs
from headwise.analyses.stability.cka import FEWEST_EXAMPLES
from headwise.analyses.stability.group_rows import HeadSimilarity
from headwise.analyses.stability.names import Measure, Pairing, Weights
from headwise.analyses.stability.residual import has_layer_norm, read_prompt
from headwise.analyses.stability.stream_similarity import spread_over
from headwise.analyses.stability.weights import into_stream
from headwise.attention.cka import SMALLEST_VARIANCE, write_factors
from headwise.runtime.progress import track
from headwise.statistics.arrays import FloatArray
from headwise.study.prompts import EncodedPrompt
from headwise.tables.frame import frame_of

# Of one layer of one refit, a text after another: (tokens, heads, features).
Texts = list[FloatArray]
Similarity = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass
class Functions:
    """What the heads of refits do, by weights, measure and layer: the texts of each refit, in the order of refits."""

    of_refits: dict[tuple[Weights, Measure, int], list[Texts]] = field(default_factory=dict)

    def add(self, weights: Weights, measure: Measure, layers: Mapping[int, Texts]) -> None:
        """Add the next refit."""
        for layer, texts in layers.items():
            self.of_refits.setdefault((weights, measure, layer), []).append(texts)

    def rows(self) -> pd.DataFrame:
        """How alike all heads of a layer are, in all refits: the columns of HeadSimilarity."""
        parts = list(track(self._parts(), "what heads do", len(self.of_refits)))
        return pd.concat(parts, ignore_index=True) if parts else frame_of(HeadSimilarity, [])

    def _parts(self) -> Iterator[pd.DataFrame]:
        for (weights, measure, layer), refits in self.of_refits.items():
            for pairing, values in similarities(refits, SIMILARITIES[measure]).items():
                refit, head, other, other_head = np.indices(values.shape).reshape(4, -1)
                yield pd.DataFrame(
                    {
                        "weights": weights,
                        "measure": measure,
                        "pairing": pairing,
                        "layer": layer,
                        "refit": refit,
                        "head": head,
                        "other": other,
                        "other_head": other_head,
                        "value": values.ravel(),
                    }
                )


@torch.inference_mode()
def writes(model: PreTrainedModel, prompts: Sequence[EncodedPrompt], most: int | None) -> dict[int, Texts]:
    """What each head writes into the residual stream, by layer: on each of a selection of prompts (T, heads, width),
    float32, turned so that inner products are those of the writes.

    most  tokens of the prompts that are selected, evenly spread; None: all prompts

    The mean over hidden units of a write is left out where the model has LayerNorm: nothing in it reads that.
    """
    layers = ablatable_layers(model)
    heads = model.config.get_text_config().num_attention_heads
    centre = has_layer_norm(model)
    factors = []
    for layer in layers:
        assert layer.projection is not None, "ablatable layers have one"
        matrix = into_stream(layer.projection, centre)
        factors.append(write_factors(matrix.unflatten(0, (heads, -1)), torch.float32))
    found: dict[int, Texts] = {layer.index: [] for layer in layers}

    def receive(place: int, outputs: Tensor) -> None:
        written = torch.einsum("thd,hde->the", outputs[0].float(), factors[place])
        found[layers[place].index].append(written.cpu().numpy())

    chosen = spread_over(prompts, most)
    with reading_outputs(model, receive):
        for prompt in track(chosen, "what heads write", len(chosen)):
            read_prompt(model, prompt)
    return found


def profiles(layers: Sequence[int], changes: Sequence[Tensor]) -> dict[int, Texts]:
    """Ablation profiles by layer, (T, heads, 1) of each text, from what each head's ablation costs at each token of
    batches of texts: (L, heads, texts, T), nats."""
    turned = [change.permute(0, 2, 3, 1)[..., None].numpy() for change in changes]
    return {layer: [text for change in turned for text in change[place]] for place, layer in enumerate(layers)}


def similarities(refits: Sequence[Texts], similarity: Similarity) -> dict[Pairing, FloatArray]:
    """How alike all heads of one layer of R refits are, by pairing: (R, H, R, H), symmetric.

    refits      of each refit the texts, (T, H, features); those of one place have the same T in all refits
    similarity  maps (N, H, features) of one and of another refit to (H, H)

    With one text there are no others: NaN.
    """
    order = np.argsort([len(text) for text in refits[0]], kind="stable")
    cuts = [(one, two, min(len(refits[0][one]), len(refits[0][two]))) for one, two in pairwise(order)]
    same = [np.concatenate(texts) for texts in refits]
    count, heads = len(refits), same[0].shape[1]
    found = {pairing: np.full((count, heads, count, heads), np.nan) for pairing in Pairing}
    for one in range(count):
        for two in range(one, count):
            found[Pairing.SAME][one, :, two] = similarity(same[one], same[two])
    if cuts:
        # Two refits on two texts: either may have read either.
        first = [np.concatenate([texts[place][:tokens] for place, _, tokens in cuts]) for texts in refits]
        second = [np.concatenate([texts[place][:tokens] for _, place, tokens in cuts]) for texts in refits]
        for one in range(count):
            for two in range(one, count):
                both = similarity(first[one], second[two]) + similarity(second[one], first[two])
                found[Pairing.OTHER][one, :, two] = both / 2
    for values in found.values():
        for one in range(count):
            for two in range(one):
                values[one, :, two] = values[two, :, one].T
    return found


def cka_of_heads(one: FloatArray, two: FloatArray) -> FloatArray:
    """Debiased linear CKA of the heads of two refits over N tokens: (H, H) from (N, H, features) of each.

    NaN for a head that writes the same at every token, and for fewer than four tokens.
    """
    tokens = len(one)
    if tokens < FEWEST_EXAMPLES:
        return np.full((one.shape[1], two.shape[1]), np.nan)
    sides = [side.astype(np.float64) - side.mean(axis=0, dtype=np.float64) for side in (one, two)]
    own = [np.array([_hsic(side[:, [head]], side[:, [head]])[0, 0] for head in range(side.shape[1])]) for side in sides]
    for variance, side in zip(own, (one, two), strict=True):
        squares = np.square(side, dtype=np.float64).sum(axis=(0, 2)) ** 2
        variance[variance <= SMALLEST_VARIANCE * squares] = np.nan
    return np.clip(_hsic(*sides) / np.sqrt(np.outer(*own)), -1, 1)


def _hsic(x: FloatArray, y: FloatArray) -> FloatArray:
    """Unbiased HSIC of all pairs of centred representations but for a factor: (A, B) from (N, A, f) and (N, B, g).

    The rows of a centred kernel sum to zero, and without the diagonal to minus its entry (Song et al. 2012, eq. 5).
    """
    tokens = len(x)
    products = np.einsum("naf,nbg->abfg", x, y, optimize=True)
    lengths = [np.square(side).sum(axis=2) for side in (x, y)]
    rows = lengths[0].T @ lengths[1]
    totals = np.outer(*(each.sum(axis=0) for each in lengths))
    hsic: FloatArray = (
        np.square(products).sum(axis=(2, 3)) - (1 + 2 / (tokens - 2)) * rows + totals / ((tokens - 1) * (tokens - 2))
    )
    return hsic


def correlation_of_heads(one: FloatArray, two: FloatArray) -> FloatArray:
    """Pearson's r over N tokens of the heads of two refits: (H, H) from (N, H, 1) of each; NaN for a constant one."""
    x, y = (_unit(side[..., 0]) for side in (one, two))
    return np.clip(x.T @ y, -1, 1)


def _unit(profiles: FloatArray) -> FloatArray:
    """Profiles (N, H), centred and of length 1; NaN where one does not vary."""
    centred = profiles - profiles.mean(axis=0)
    squares = np.square(centred).sum(axis=0)
    varies = squares > SMALLEST_VARIANCE * np.square(profiles).sum(axis=0)
    return centred / np.sqrt(np.where(varies, squares, np.nan))


SIMILARITIES: dict[Measure, Similarity] = {
    Measure.WRITES: cka_of_heads,
    Measure.ABLATION_PROFILE: correlation_of_heads,
}
