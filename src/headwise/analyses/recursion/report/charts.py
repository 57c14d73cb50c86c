"""The figures about recursive generation."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from headwise.analyses.recursion.rows import RecursionGeneration, RecursionSurvival
from headwise.report.chart_parts import tooltip
from headwise.report.columns import Tables
from headwise.report.labels import plain, short_labels
from headwise.report.part import Chart
from headwise.report.style import COLOURS, GREY
from headwise.study.study import Study
from headwise.tables.row import columns_of

# Of the measures of a generation, those that are drawn.
DRAWN = ("distinct_2", "repeated_share", "similarity", "nll_nats")


def charts(study: Study) -> Sequence[Chart]:
    """Survival and measures of generations; those that a study has data for are drawn."""
    return [
        Chart(
            "recursion_survival",
            survival_chart,
            "Chains that are not degraded",
            "Share of chains that are not degraded by the declared criterion (Kaplan–Meier), generation after "
            "generation; a panel per arm. Thick: all refits together with pointwise intervals; thin: each refit. "
            "Chains that never degrade are censored at the last generation at which degradation could begin.",
        ),
        Chart(
            "recursion_generations",
            generations_chart,
            "What generations are like",
            "Mean over chains and refits of each arm, generation after generation.",
        ),
    ]


def survival_chart(study: Study, tables: Tables) -> Any:
    """A panel per arm: steps of all refits together, and of each."""
    rows = tables[RecursionSurvival.table]
    if rows.empty:
        return None
    arms = list(dict.fromkeys(rows["arm"]))
    return [
        _survival_panel(rows[rows["arm"] == arm], arm, colour) for arm, colour in zip(arms, _colours(arms), strict=True)
    ]


def _survival_panel(rows: pd.DataFrame, arm: str, colour: str) -> Any:
    points = rows[["seed", "generation", "survival", "ci_low", "ci_high", "at_risk"]]
    pooled, single = points[points["seed"].isna()], points[points["seed"].notna()]
    x = alt.X("generation:Q", title="Generation", axis=alt.Axis(tickMinStep=1, format="d"))
    y = alt.Y("survival:Q", title="Chains not degraded (share)", scale=alt.Scale(domain=[0, 1]))
    thin = alt.Chart(single, width=190, height=150, title=plain(arm)).mark_line(
        interpolate="step-after", strokeWidth=0.8, color=GREY
    )
    thick = alt.Chart(pooled).mark_line(interpolate="step-after", strokeWidth=2, color=colour)
    ends = alt.Chart(pooled).transform_filter("isValid(datum.ci_low)").mark_rule(color=colour)
    return alt.layer(
        thin.encode(x=x, y=y, detail="seed:N"),
        ends.encode(x=x, y=alt.Y("ci_low:Q"), y2="ci_high:Q"),
        thick.encode(x=x, y=y, tooltip=tooltip(Generation="generation:O", Share="survival:Q", At_risk="at_risk:O")),
    )


def generations_chart(study: Study, tables: Tables) -> Any:
    """A panel per measure, a line per arm."""
    rows = tables[RecursionGeneration.table]
    if rows.empty:
        return None
    arms = short_labels(rows["arm"])
    colours = alt.Scale(domain=list(arms.values()), range=_colours(list(arms)))
    colour = alt.Color("arm:N", scale=colours, legend=alt.Legend(title="Arm", symbolType="stroke"))
    panels = []
    titles = {column.name: column.heading for column in columns_of(RecursionGeneration)}
    for name in DRAWN:
        points = rows[rows[name].notna()]
        points = points.assign(arm=points["arm"].map(arms))
        means = points.groupby(["arm", "generation"], sort=False)[name].mean().rename("value").reset_index()
        panels.append(
            alt.Chart(means, width=240, height=140, title=titles[name])
            .mark_line(strokeWidth=1.6)
            .encode(
                x=alt.X("generation:Q", title="Generation", axis=alt.Axis(tickMinStep=1, format="d")),
                y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
                color=colour,
                tooltip=tooltip(Arm="arm:N", Generation="generation:O", Mean="value:Q"),
            )
        )
    return panels


def _colours(names: Sequence[str]) -> list[str]:
    return [COLOURS[position % len(COLOURS)] for position in range(len(names))]
