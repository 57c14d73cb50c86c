"""The figures of what stands behind the findings: the head-permutation check, what the heads do."""

from typing import Any

import altair as alt
import pandas as pd

from headwise.analyses.specialization.report.chosen import estimators
from headwise.report.chart_parts import (
    families,
    labelled,
    layer_axis,
    methods,
    model_labels,
    spread,
    tooltip,
)
from headwise.report.columns import ROUNDING, Tables, counted
from headwise.report.labels import DESCRIPTORS, estimator_title
from headwise.report.style import GREY, family_colour, method_shape
from headwise.study.study import Study


def head_permutation_chart(study: Study, tables: Tables) -> Any:
    """Value against value with heads shuffled within layers; on the line, nothing changed.

    A panel for the primary estimator, and for every other that the order of heads makes a difference to.
    """
    checks = tables["checks"]
    rows = checks[checks["check"].eq("head_permutation") & checks["sink"].eq("kept") & checks["change"].notna()]
    moved = rows[rows["estimator"].eq(study.comparison.primary) | rows["largest_change"].gt(ROUNDING)]
    if moved.empty:
        return None
    rows = labelled(study, rows[rows["estimator"].isin(set(moved["estimator"]))])
    return [_permutation_panel(study, name, rows[rows["estimator"] == name]) for name in estimators(study, rows)]


def _permutation_panel(study: Study, estimator: str, rows: pd.DataFrame) -> Any:
    deviation = rows["deviation"].fillna(0)
    rows = rows.assign(low=rows["checked_value"] - deviation, high=rows["checked_value"] + deviation)
    ends = spread(rows["value"], rows["low"], rows["high"])
    scale, axis = alt.Scale(domain=ends, nice=True, zero=False), alt.Axis(tickCount=5)
    points = rows[["label", "model", "family", "method", "seed", "value", "checked_value", "low", "high"]]
    base = alt.Chart(points, width=190, height=190, title=estimator_title(estimator)).encode(
        x=alt.X("value:Q", title="Value", scale=scale, axis=axis), color=family_colour(families(study))
    )
    y = alt.Y("low:Q", title="Value with heads shuffled", scale=scale, axis=axis)
    deviations = base.mark_rule().encode(y=y, y2="high:Q")
    means = base.mark_point(filled=True, size=30).encode(
        y="checked_value:Q",
        shape=method_shape(methods(study), methods(study)),
        tooltip=tooltip(Model="label:N", Seed="seed:O", Value="value:Q", Heads_shuffled="checked_value:Q"),
    )
    diagonal = alt.Chart(pd.DataFrame({"value": ends, "checked_value": ends}))
    line = diagonal.mark_line(color=GREY, strokeWidth=1).encode(x="value:Q", y="checked_value:Q")
    return alt.layer(line, deviations, means)


def descriptor_chart(study: Study, tables: Tables) -> Any:
    """What heads of the bases do, by layer: the highest and the median head; a panel per descriptor."""
    rows = counted(tables["descriptors"], tables["models"])
    rows = rows[rows["base"].isna()]
    if rows.empty:
        return None
    names = list(DESCRIPTORS)
    heads = rows.groupby(["model", "family", "seed", "layer"], sort=False)[names]
    shown = pd.concat([heads.max().assign(head="highest head"), heads.median().assign(head="median head")])
    shown = shown.reset_index()
    shown["label"] = shown["model"].map(model_labels(study))
    legend = alt.Legend(title="Head of the layer", symbolType="stroke")
    dashes = alt.Scale(domain=["highest head", "median head"], range=[[1, 0], [4, 3]])
    panels = []
    for name in names:
        points = shown.rename(columns={name: "value"})[["label", "family", "seed", "layer", "head", "value"]]
        chart = alt.Chart(points, width=190, height=140, title=DESCRIPTORS[name])
        panels.append(
            chart.mark_line(point=alt.OverlayMarkDef(size=18, opacity=1)).encode(
                x=layer_axis(),
                y=alt.Y("mean(value):Q", title=None),
                color=family_colour(families(study)),
                strokeDash=alt.StrokeDash("head:N", scale=dashes, legend=legend),
                detail="label:N",
                tooltip=tooltip(Model="label:N", Layer="layer:O", Mean_over_refits="mean(value):Q"),
            )
        )
    return panels
