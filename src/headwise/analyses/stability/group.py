"""A group of refits as its jobs measured it: the tables as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from headwise.analyses.stability.group_rows import COMPARED, PROBED, Beginning, HeadSimilarity
from headwise.analyses.stability.names import (
    TRAINED,
    Analysis,
    Measure,
    Pairing,
    Replacement,
    TakenFrom,
    Version,
    Weights,
)
from headwise.runtime.parquet import read_metadata
from headwise.statistics.arrays import FloatArray
from headwise.tables.files import read_rows


@dataclass(frozen=True)
class GroupFiles:
    """The tables of one group: what `compare_refits` and `probe_refits` wrote."""

    pairs: Path
    heads: Path
    origins: Path
    residual: Path
    importance: Path
    losses: Path
    norms: Path
    outputs: Path

    @classmethod
    def of_groups(cls, tables: Mapping[str, Sequence[Path]]) -> "list[GroupFiles]":
        """From the files of all groups by table, groups in the same order in each."""
        return [cls(*files) for files in zip(*(tables[each.name] for each in fields(cls)), strict=True)]


@dataclass(frozen=True, eq=False)
class Group:
    """The tables of one group of R refits, with L attention layers of H heads.

    name     of the group
    refits   label of each refit
    layers   indices of the attention layers
    The tables are as `compare_refits` and `probe_refits` wrote them.
    """

    name: str
    refits: tuple[str, ...]
    layers: tuple[int, ...]
    pairs: pd.DataFrame
    heads: pd.DataFrame
    origins: pd.DataFrame
    residual: pd.DataFrame
    importance: pd.DataFrame
    losses: pd.DataFrame
    norms: pd.DataFrame
    outputs: Path

    def pair_values(
        self, measure: Measure, words: int | None, pairing: Pairing, weights: Weights = TRAINED
    ) -> FloatArray:
        """Matched cosines of pairs of refits, mean over the heads of a layer: (R, R, L); NaN on the diagonal."""
        rows = self.pairs[
            self.pairs["weights"].eq(weights)
            & self.pairs["measure"].eq(measure)
            & (self.pairs["words"].isna() if words is None else self.pairs["words"].eq(words))
            & self.pairs["pairing"].eq(pairing)
        ]
        return self._spread(rows, ["refit", "other", "layer"])

    def residual_values(self, kernel: Measure, site: TakenFrom, weights: Weights = TRAINED) -> FloatArray:
        """CKA of pairs of refits: (R, R, L), NaN on the diagonal; symmetric."""
        rows = self.residual[
            self.residual["weights"].eq(weights) & self.residual["kernel"].eq(kernel) & self.residual["site"].eq(site)
        ]
        upper = self._spread(rows, ["refit", "other", "layer"])
        return np.where(np.isnan(upper), upper.transpose(1, 0, 2), upper)

    def head_values(
        self,
        analysis: Analysis,
        version: Version,
        measure: Measure,
        pairing: Pairing,
        words: int | None = None,
        weights: Weights = TRAINED,
    ) -> FloatArray:
        """Numbers of single heads: (R, L, H); of the anchor alone, (1, L, H), where they are published ones."""
        heads = self.heads
        rows = heads[
            heads["analysis"].eq(analysis)
            & heads["version"].eq(version)
            & heads["measure"].eq(measure)
            & heads["pairing"].eq(pairing)
            & (heads["words"].isna() if words is None else heads["words"].eq(words))
            & heads["weights"].eq(weights)
        ]
        return self._spread(rows, ["refit", "layer", "head"])

    def importance_values(self, column: str, text: TakenFrom, replacement: Replacement) -> FloatArray:
        """What the loss of a head costs: (R, L, H), or (1, L, H) where one refit was measured."""
        rows = self.importance[self.importance["text"].eq(text) & self.importance["replacement"].eq(replacement)]
        return self._spread(rows.rename(columns={column: "value"}), ["refit", "layer", "head"])

    def norm_values(self, matrix: TakenFrom, version: Version) -> FloatArray:
        """Frobenius norms: (R, L); NaN where the matrix was not found."""
        rows = self.norms[self.norms["matrix"].eq(matrix) & self.norms["version"].eq(version)]
        return self._spread(rows.rename(columns={"norm": "value"}), ["refit", "layer"])

    def held_out_losses(self, text: TakenFrom) -> FloatArray:
        """Loss of the whole models on a text, nats per token: (R,)."""
        rows = self.losses[self.losses["text"].eq(text)]
        return rows.sort_values("refit")["loss_nats"].to_numpy(np.float64)

    def _spread(self, rows: pd.DataFrame, axes: list[str]) -> FloatArray:
        """Rows as an array with these axes, NaN where there is no row."""
        places = []
        for axis in axes:
            values = rows[axis].to_numpy()
            places.append(np.searchsorted(self.layers, values) if axis == "layer" else values.astype(np.int64))
        sizes = [
            len(self.layers) if axis == "layer" else int(place.max(initial=-1)) + 1
            for axis, place in zip(axes, places, strict=True)
        ]
        if axes[:2] == ["refit", "other"]:
            sizes[:2] = [max(sizes[:2])] * 2
        spread = np.full(sizes, np.nan)
        spread[tuple(places)] = rows["value"].to_numpy(np.float64)
        return spread


def read_group(files: GroupFiles) -> Group:
    """Read the tables of one group; its name and refits stand in their metadata."""
    metadata = read_metadata(files.pairs)
    read = [row for row in (*COMPARED, *PROBED) if row not in (Beginning, HeadSimilarity)]
    tables = {row.table: read_rows(row, getattr(files, row.table)) for row in read}
    return Group(
        name=metadata["group"],
        refits=tuple(metadata["refits"]),
        layers=tuple(metadata["layers"]),
        outputs=files.outputs,
        **tables,
    )
