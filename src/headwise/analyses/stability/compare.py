"""Compare the heads of a group of refits: tables of what pairs of refits, and single heads, have in common."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwise.analyses.stability.cosines import WHOLE, RefitCosines, View, refit_cosines
from headwise.analyses.stability.group_rows import COMPARED, HeadSimilarity, HeadValue, MatchCount, PairCosine
from headwise.analyses.stability.heads import (
    ANCHOR,
    commonness,
    matched_stability,
    published_commonness,
    published_cross_layer,
    published_stability,
)
from headwise.analyses.stability.names import CORRECTED, PUBLISHED, RANDOM, TRAINED, Analysis, Measure, Pairing
from headwise.analyses.stability.packed import packed_attention
from headwise.analyses.stability.settings import Stability
from headwise.runtime.parquet import read_table
from headwise.statistics.arrays import FloatArray
from headwise.tables.files import read_rows, write_rows
from headwise.tables.row import Row


def compare_refits(
    tensors: Sequence[Path],
    random: Sequence[Path],
    beginnings: Path,
    similarities: Path,
    *,
    pairs: Path,
    heads: Path,
    origins: Path,
    settings: Stability,
    metadata: Mapping[str, Any],
) -> None:
    """Compare the heads of refits with one another, and those of models with random weights with one another.

    tensors, random  tensor Parquet of each refit, the published anchor first, and of models with random weights
    beginnings       how many tokens the first words of each prompt are
    similarities     how alike heads are in what they do
    pairs            receives the mean over heads of one-to-one matched cosines, for each pair of refits and layer
    heads            receives the stability and commonness of each head, as published (of the anchor) and corrected;
                     a published value is a mean over the other refits, a corrected one as well, in every refit
    origins          receives in which layer the best matches of each layer's heads lie, counted over pairs of refits

    Raises StabilityError where refits do not belong together.
    """
    lengths: dict[int, dict[str, int]] = {}
    for words, prompt, tokens in read_table(beginnings).itertuples(index=False):
        lengths.setdefault(words, {})[prompt] = tokens
    frames: dict[type[Row], list[pd.DataFrame]] = {row: [] for row in COMPARED}
    alike = read_rows(HeadSimilarity, similarities)
    prompts: dict[str, dict[str, int]] = {}
    for weights, paths in ((TRAINED, tensors), (RANDOM, random)):
        if len(paths) < 2:
            continue
        with ExitStack() as files:
            refits = [files.enter_context(packed_attention(path)) for path in paths]
            # The pattern of an encoder's prompt does not begin with that of its first words.
            usable = lengths if refits[0].support == "causal" else {}
            cosines = refit_cosines(refits, usable, settings.memory_mb)
        prompts[weights] = {_name(view, pairing): count for (view, pairing), count in cosines.prompts.items()}
        prompts[weights] |= {f"{_name(view, 'left out')}": int(each.sum()) for view, each in cosines.left_out.items()}
        compared = {**cosines.same_layer, **_functions(alike[alike["weights"].eq(weights)], cosines)}
        cosines = replace(cosines, same_layer=compared)
        for row, measured in ((PairCosine, _pairs), (HeadValue, _heads), (MatchCount, _origins)):
            frames[row] += [frame.assign(weights=weights) for frame in measured(cosines)]
    facts = {**metadata, "prompts": prompts, "layers": list(cosines.layers)}
    for row, path in ((PairCosine, pairs), (HeadValue, heads), (MatchCount, origins)):
        write_rows(row, pd.concat(frames[row], ignore_index=True), path, facts)


def _name(view: View, what: str) -> str:
    return ", ".join([view.measure, *([f"{view.words} words"] if view.words else []), what])


def _functions(rows: pd.DataFrame, cosines: RefitCosines) -> dict[tuple[View, Pairing], FloatArray]:
    """How alike heads are in what they do, laid out as cosines are: (R, R, L, H, H) by view and pairing."""
    shape = cosines.same_layer[WHOLE, Pairing.SAME].shape
    found = {}
    for (measure, pairing), own in rows.groupby(["measure", "pairing"]):
        places = [own[axis].to_numpy() for axis in ("refit", "other", "layer", "head", "other_head")]
        places[2] = np.searchsorted(cosines.layers, places[2])
        values = np.full(shape, np.nan)
        values[tuple(places)] = own["value"].to_numpy(np.float64)
        found[View(Measure(str(measure))), Pairing(str(pairing))] = values
    return found


def _frame(values: FloatArray, axes: Mapping[str, Any], **same: Any) -> pd.DataFrame:
    """An array as rows: a column per axis with its labels, the values, and columns with one value."""
    places = np.indices(values.shape).reshape(values.ndim, -1)
    columns = {name: np.asarray(labels)[place] for (name, labels), place in zip(axes.items(), places, strict=True)}
    return pd.DataFrame({**columns, "value": values.ravel(), **same})


def _axes(cosines: RefitCosines, *names: str) -> dict[str, Any]:
    refits, _, _, heads, _ = cosines.same_layer[WHOLE, Pairing.SAME].shape
    labels = {"refit": range(refits), "other": range(refits), "layer": cosines.layers, "head": range(heads)}
    return {name: labels[name] for name in names}


def _pairs(cosines: RefitCosines) -> Iterator[pd.DataFrame]:
    """Every ordered pair of refits: matched cosines, mean over the heads of a layer; undefined where one of them is."""
    for (view, pairing), same_layer in cosines.same_layer.items():
        matched = matched_stability(same_layer).mean(axis=-1)
        frame = _frame(
            matched, _axes(cosines, "refit", "other", "layer"), measure=view.measure, words=view.words, pairing=pairing
        )
        yield frame[frame["refit"] != frame["other"]]


def _heads(cosines: RefitCosines) -> Iterator[pd.DataFrame]:
    for (view, pairing), same_layer in cosines.same_layer.items():
        same = {"measure": view.measure, "words": view.words, "pairing": pairing}
        every = _axes(cosines, "refit", "layer", "head")
        anchor = _axes(cosines, "layer", "head")
        of_anchor = {"refit": ANCHOR, "version": PUBLISHED, **same}
        matched = _mean_over_others(matched_stability(same_layer))
        yield _frame(matched, every, analysis=Analysis.HEAD_STABILITY, version=CORRECTED, **same)
        if view.measure == WHOLE.measure:
            yield _frame(published_stability(same_layer), anchor, analysis=Analysis.HEAD_STABILITY, **of_anchor)
        if view.words is None:
            yield _frame(commonness(same_layer), every, analysis=Analysis.COMMONNESS, version=CORRECTED, **same)
        if view == WHOLE:
            yield _frame(published_commonness(same_layer), anchor, analysis=Analysis.COMMONNESS, **of_anchor)
    across = {"analysis": Analysis.CROSS_LAYER, "measure": WHOLE.measure, "words": None, "pairing": Pairing.SAME}
    values, _ = published_cross_layer(cosines.across)
    yield _frame(values, _axes(cosines, "layer", "head"), version=PUBLISHED, refit=ANCHOR, **across)
    matched = _mean_over_others(cosines.across.matched)
    yield _frame(matched, _axes(cosines, "refit", "layer", "head"), version=CORRECTED, **across)


def _origins(cosines: RefitCosines) -> Iterator[pd.DataFrame]:
    """How many best matches of each layer's heads lie in each layer; published: of the anchor, itself included."""
    places = range(len(cosines.layers))
    _, published = published_cross_layer(cosines.across)
    for version, origin in ((PUBLISHED, published[None]), (CORRECTED, cosines.across.matched_layer)):
        counts = np.array([[(origin[:, :, place] == found).sum() for found in places] for place in places])
        layer, found = np.indices(counts.shape).reshape(2, -1)
        labels = np.asarray(cosines.layers)
        yield pd.DataFrame(
            {
                "layer": labels[layer],
                "origin_layer": labels[found],
                "matches": counts.ravel(),
                "version": version,
            }
        )


def _mean_over_others(matched: FloatArray) -> FloatArray:
    """Mean over the other refits of each head's cosine with its partner: (R, L, H) from (R, R, L, H).

    NaN where a head has no partner in one of them.
    """
    refits = len(matched)
    others = ~np.eye(refits, dtype=bool)
    return np.where(others[:, :, None, None], matched, 0).sum(axis=1) / (refits - 1)
