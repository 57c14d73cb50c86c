"""The figures of what was found: one function each, from the study and its tables to a Vega-Lite chart.

Each chart holds the very numbers of a table, with readable labels added.
"""

from typing import Any

import altair as alt
import pandas as pd

from headwise.analyses.specialization.report.chosen import estimators
from headwise.report.chart_parts import (
    PANELS_PER_ROW,
    families,
    labelled,
    layer_axis,
    methods,
    model_axis,
    panels_by,
    primary_values,
    spread,
    tooltip,
    vertical,
)
from headwise.report.columns import Tables
from headwise.report.labels import BASE, estimator_title, p_value
from headwise.report.style import BAND, ROW, family_colour, method_dash, method_shape
from headwise.report.verdicts import REPEAT, in_words
from headwise.study.study import Study
from headwise.tables.frame import records


def specialization_chart(study: Study, tables: Tables) -> Any:
    """Value of the primary estimator for every model: a point per refit, a bar at the mean."""
    rows = labelled(study, primary_values(study, tables["specialization"], "model"))
    if rows.empty:
        return None
    points = rows[["label", "model", "family", "method", "seed", "value"]]
    base = alt.Chart(points, width=560, height=alt.Step(ROW))
    base = base.encode(y=model_axis(rows), color=family_colour(families(study)))
    title = estimator_title(study.comparison.primary)
    refits = base.mark_point(filled=True).encode(
        x=alt.X("value:Q", title=title, scale=alt.Scale(domain=spread(rows["value"]), nice=True, zero=False)),
        shape=method_shape(methods(study), methods(study)),
        tooltip=tooltip(Model="label:N", Seed="seed:O", Value="value:Q"),
    )
    means = base.mark_tick(thickness=2.5, size=ROW - 4).encode(x=alt.X("mean(value):Q"))
    return alt.layer(means, refits)


def change_chart(study: Study, tables: Tables) -> Any:
    """Change under alignment within each refit, with its interval: a panel per estimator."""
    tests = tables["comparisons"]
    rows = tests[
        tests["level"].eq("model")
        & tests["scope"].eq("refit")
        & tests["sink"].eq("kept")
        & tests["role"].ne(REPEAT)
        & tests["delta_absolute"].notna()
    ]
    if rows.empty:
        return None
    rows = labelled(study, rows.rename(columns={"aligned": "model"}))
    rows["significant"] = rows["p_adjusted"] <= study.comparison.level
    rows["verdict"] = [in_words(row) for row in records(rows)]
    rows = rows.assign(adjusted=rows["p_adjusted"].map(p_value), attainable=rows["p_attainable"].map(p_value))
    return [
        _change_panel(study, name, rows[rows["estimator"] == name], labels=place % PANELS_PER_ROW == 0)
        for place, name in enumerate(estimators(study, rows))
    ]


def _change_panel(study: Study, estimator: str, rows: pd.DataFrame, labels: bool) -> Any:
    numbers = ("delta_absolute", "ci_low", "ci_high", "p_adjusted", "p_attainable")
    changes = rows[
        ["label", "model", "family", "method", "seed", *numbers, "adjusted", "attainable", "verdict", "significant"]
    ]
    height = alt.Step(max(ROW, 7 * rows["seed"].nunique() + 6)).to_dict() | {"for": "position"}
    seeds = sorted({int(seed) for seed in rows["seed"]})
    places = alt.Chart(changes, width=190, height=height, title=estimator_title(estimator)).encode(
        y=model_axis(rows, labels),
        yOffset=alt.YOffset("seed:N", sort=seeds, scale=alt.Scale(paddingInner=0.2, paddingOuter=0.4)),
    )
    coloured = places.encode(color=family_colour(families(study)))
    intervals = coloured.mark_rule(strokeWidth=1.6).encode(
        x=alt.X("ci_low:Q", title="Aligned − base", axis=alt.Axis(tickCount=3), scale=alt.Scale(padding=8)),
        x2="ci_high:Q",
    )
    points = coloured.mark_point(size=48, filled=True).encode(
        x="delta_absolute:Q",
        shape=method_shape(methods(study), [method for method in methods(study) if method != BASE]),
        tooltip=tooltip(
            Model="label:N",
            Seed="seed:N",
            Change="delta_absolute:Q",
            Interval_from="ci_low:Q",
            to="ci_high:Q",
            Adjusted_p="adjusted:N",
            Smallest_attainable_p="attainable:N",
            Verdict="verdict:N",
        ),
    )
    # A white centre, drawn over the symbol: the legend of shapes has no hollow symbols.
    centres = places.mark_circle(color="white", opacity=1).encode(
        x="delta_absolute:Q", size=alt.condition("datum.significant", alt.value(0), alt.value(10))
    )
    layers = [vertical(0), intervals, points, centres]
    if estimator == study.comparison.primary:
        margin = study.comparison.equivalence_margin
        band = alt.Chart(pd.DataFrame({"low": [-margin], "high": [margin]}))
        layers.insert(0, band.mark_rect(color=BAND, opacity=1).encode(x="low:Q", x2="high:Q"))
    return alt.layer(*layers)


def layer_chart(study: Study, tables: Tables) -> Any:
    """Value of the primary estimator by layer: a panel per family, a line per model, a point per refit."""
    rows = labelled(study, primary_values(study, tables["specialization"], "layer"))
    if rows.empty:
        return None
    points = rows[["label", "model", "family", "method", "seed", "layer", "value"]]
    title = estimator_title(study.comparison.primary)
    scale = alt.Scale(domain=spread(rows["value"]), nice=True, zero=False)

    def panel(own: pd.DataFrame) -> Any:
        base = alt.Chart(own, width=200, height=150).encode(
            x=layer_axis(), color=family_colour(families(study), legend=False)
        )
        lines = base.mark_line().encode(y=alt.Y("mean(value):Q"), strokeDash=method_dash(methods(study)))
        refits = base.mark_point(filled=True, size=26).encode(
            y=alt.Y("value:Q", title=title, scale=scale),
            shape=method_shape(methods(study), methods(study)),
            tooltip=tooltip(Model="label:N", Seed="seed:O", Layer="layer:O", Value="value:Q"),
        )
        return alt.layer(lines, refits)

    return panels_by(points, "family", panel)
