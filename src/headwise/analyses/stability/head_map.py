"""A map of heads: close together lie heads to which the same prompts look alike (Bali et al. 2026, section 4.9).

Of each head, its mean output over the tokens of a prompt; the distances of all pairs of prompts, which do not depend on
the basis that a refit happens to compute in; and an embedding of these distance vectors in the plane by t-SNE (van der
Maaten and Hinton 2008). The map is a picture. What is counted is in the distances themselves: whether the nearest head
in another refit lies in the same layer.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist, pdist

from headwise.analyses.stability.group import Group
from headwise.analyses.stability.names import CORRECTED, Analysis, Measure
from headwise.analyses.stability.rows import MappedHead, StabilityRow
from headwise.runtime.parquet import read_arrow
from headwise.statistics.arrays import FloatArray
from headwise.statistics.intervals import t_interval
from headwise.study.comparison import Comparison
from headwise.tables.frame import typed

# t-SNE needs three times as many points as its perplexity.
POINTS_PER_PERPLEXITY = 3
FEWEST_POINTS = 4


def distance_vectors(group: Group) -> tuple[pd.DataFrame, FloatArray]:
    """Refit, layer and head of each point, and its distances between all pairs of P prompts, (points, P (P − 1) / 2).

    The distance matrix of Bali et al. has every distance twice and a diagonal of zeros, which changes distances between
    heads by a common factor alone.
    """
    table = read_arrow(group.outputs, ["refit", "layer", "head", "mean"])
    places = table.select(["refit", "layer", "head"]).to_pandas()
    means = (
        table["mean"].combine_chunks().flatten().to_numpy().reshape(len(table), -1) if len(table) else np.empty((0, 0))
    )
    points, vectors = [], []
    for point, rows in places.groupby(["refit", "layer", "head"], sort=True).indices.items():
        points.append(point)
        vectors.append(pdist(means[rows].astype(np.float64)))
    return pd.DataFrame(points, columns=["refit", "layer", "head"]), np.array(vectors)


def head_map(groups: Sequence[Group], perplexity: float, seed: int = 0) -> pd.DataFrame:
    """The heads of all groups in one plane: columns group, refit, layer, head, x, y. Empty without mean outputs.

    One thread, since several add up in any order: the same coordinates every time.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    frames, vectors = [], []
    for group in groups:
        points, distances = distance_vectors(group)
        if len(points):
            frames.append(points.assign(group=group.name))
            vectors.append(distances)
    points = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if len(points) < FEWEST_POINTS:
        return typed(MappedHead, points)
    embedding = TSNE(
        perplexity=min(perplexity, len(points) / POINTS_PER_PERPLEXITY), init="pca", random_state=seed, n_jobs=1
    )
    with threadpool_limits(limits=1):
        plane = embedding.fit_transform(np.concatenate(vectors))
    return typed(MappedHead, points.assign(x=plane[:, 0].astype(np.float64), y=plane[:, 1].astype(np.float64)))


def neighbour_rows(group: Group, settings: Comparison) -> Iterator[StabilityRow]:
    """Share of heads whose nearest head in another refit lies in the same layer; chance: 1 / L."""
    points, distances = distance_vectors(group)
    refits = points["refit"].unique()
    if len(refits) < 2:
        return
    shares = []
    for one in refits:
        here = points["refit"].eq(one).to_numpy()
        hits = []
        for two in refits[refits != one]:
            there = points["refit"].eq(two).to_numpy()
            nearest = cdist(distances[here], distances[there]).argmin(axis=1)
            hits.append(points["layer"].to_numpy()[there][nearest] == points["layer"].to_numpy()[here])
        shares.append(np.mean(hits))
    row = StabilityRow(group.name, Analysis.NEIGHBOURS, CORRECTED, measure=Measure.DISTANCES)
    interval = t_interval(shares, settings.level)
    chance = 1 / len(group.layers)
    corrected = (np.mean(shares) - chance) / (1 - chance) if chance < 1 else np.nan
    yield row.with_interval(interval).with_chance(chance, float(corrected))
