"""Gather the groups of a study: the finished tables of stability."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from headwise.analyses.stability.contrasts import contrast_rows
from headwise.analyses.stability.group import Group, GroupFiles, read_group
from headwise.analyses.stability.head_map import head_map, neighbour_rows
from headwise.analyses.stability.head_rows import head_rows
from headwise.analyses.stability.model_rows import importance_rows, residual_rows, weight_rows
from headwise.analyses.stability.quantities import StabilityQuantity, quantity_table
from headwise.analyses.stability.rows import MappedHead, Origin, StabilityRow
from headwise.analyses.stability.settings import Stability
from headwise.runtime.progress import track
from headwise.study.comparison import Comparison
from headwise.tables.files import write_rows
from headwise.tables.frame import frame_of, typed
from headwise.tables.row import Row

TABLES: tuple[type[Row], ...] = (StabilityRow, Origin, MappedHead, StabilityQuantity)


def summarize_stability(
    inputs: Mapping[str, Sequence[Path]],
    outputs: Mapping[str, Path],
    settings: Stability,
    comparison: Comparison,
    metadata: Mapping[str, Any],
) -> None:
    """Write the tables of all groups of a study.

    inputs   tables of the groups by the name that `GroupFiles` has for them, groups in the same order in each
    outputs  by table: those of the row classes TABLES

    Raises StabilityError where groups that are contrasted have different shapes.
    """
    groups = {group.name: group for group in map(read_group, GroupFiles.of_groups(inputs))}
    rows: list[StabilityRow] = []
    for group in track(groups.values(), "stability of heads", len(groups)):
        for part in (head_rows, residual_rows, importance_rows, weight_rows, neighbour_rows):
            rows += part(group, comparison)
    rows += contrast_rows(groups, settings, comparison)
    tables: dict[type[Row], pd.DataFrame] = {
        StabilityRow: frame_of(StabilityRow, rows),
        Origin: origin_table(list(groups.values())),
        MappedHead: head_map(list(groups.values()), settings.head_map_perplexity),
        StabilityQuantity: quantity_table(groups, rows, comparison),
    }
    for row, table in tables.items():
        write_rows(row, table, outputs[row.table], metadata)


def origin_table(groups: Sequence[Group]) -> pd.DataFrame:
    """Share of the best matches of each layer's heads that lie in each layer."""
    table = pd.concat([group.origins.assign(group=group.name) for group in groups], ignore_index=True)
    whole = table.groupby(["group", "weights", "version", "layer"])["matches"].transform("sum")
    return typed(Origin, table.assign(share=table["matches"] / whole.where(whole > 0)))
