"""Gather the groups of a study: the finished tables of stability."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from headwise.analyses.stability.claims import claim_table
from headwise.analyses.stability.contrasts import contrast_rows
from headwise.analyses.stability.group import Group, GroupFiles, read_group
from headwise.analyses.stability.head_map import head_map, neighbour_rows
from headwise.analyses.stability.head_rows import head_rows
from headwise.analyses.stability.model_rows import importance_rows, residual_rows, weight_rows
from headwise.analyses.stability.rows import Row, frame
from headwise.runtime.progress import track
from headwise.runtime.provenance import write_table
from headwise.study.comparison import Comparison
from headwise.study.stability import Stability

ORIGIN_COLUMNS = {
    "group": "string",
    "weights": "string",
    "version": "string",
    "layer": "Int64",
    "origin_layer": "Int64",
    "share": "float64",
    "matches": "Int64",
}


def summarize_stability(
    files: Sequence[GroupFiles],
    *,
    stability: Path,
    origins: Path,
    heads: Path,
    claims: Path,
    settings: Stability,
    comparison: Comparison,
    metadata: Mapping[str, Any],
) -> None:
    """Write the tables of all groups of a study.

    stability  one row per number, see `Row`
    origins    in which layer the best matches of each layer's heads lie
    heads      the map of heads
    claims     the claims of the published abstract, with verdicts

    Raises StabilityError where groups that are contrasted have different shapes.
    """
    groups = {group.name: group for group in map(read_group, files)}
    rows: list[Row] = []
    for group in track(groups.values(), "stability of heads", len(groups)):
        for part in (head_rows, residual_rows, importance_rows, weight_rows, neighbour_rows):
            rows += part(group, comparison)
    rows += contrast_rows(groups, settings, comparison)
    write_table(frame(rows), stability, metadata)
    write_table(origin_table(list(groups.values())), origins, metadata)
    write_table(head_map(list(groups.values()), settings.head_map_perplexity), heads, metadata)
    write_table(claim_table(groups, rows, comparison), claims, metadata)


def origin_table(groups: Sequence[Group]) -> pd.DataFrame:
    """Share of the best matches of each layer's heads that lie in each layer."""
    table = pd.concat([group.origins.assign(group=group.name) for group in groups], ignore_index=True)
    whole = table.groupby(["group", "weights", "version", "layer"])["matches"].transform("sum")
    return table.assign(share=table["matches"] / whole.where(whole > 0))[list(ORIGIN_COLUMNS)].astype(ORIGIN_COLUMNS)
