"""The figures about the stability of heads: over layers, of the residual stream, and the map of heads."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import altair as alt
import pandas as pd

from headwise.analyses.stability.names import Analysis, Measure, TakenFrom, Version, Weights
from headwise.report.chart_parts import layer_axis, panels_by, spread, tooltip
from headwise.report.columns import Tables
from headwise.report.part import Chart
from headwise.report.style import BAND, COLOURS, GREY, SHAPES
from headwise.statistics.intervals import FEW_CLUSTERS
from headwise.study.study import Study

SERIES = ("corrected", "published", "random weights")
DASHES = ([1, 0], [6, 3], [2, 2])
ENDS = ("ci_low", "ci_high", "chance")

# In words, what heads of refits are compared on.
COMPARED_ON = {
    Measure.COSINE: "patterns",
    Measure.WRITES: "writes",
    Measure.ABLATION_PROFILE: "ablation profiles",
}
OVER_REFITS = f"Student’s t with the jackknife error; from {FEW_CLUSTERS} refits on, percentiles of a bootstrap"


def charts(study: Study) -> Sequence[Chart]:
    """The figures, in order."""
    coverage = f"{100 * (1 - study.comparison.level):g} %"
    return [
        Chart(
            "stability_layers",
            layer_chart,
            "How stable heads are, layer by layer",
            "Mean cosine between the attention of matched heads of two refits. Solid: one-to-one matching over all "
            f"pairs of refits, with the {coverage} interval over refits ({OVER_REFITS}). Dashed: as published, best "
            "match of one anchor's heads. Dotted: models with random weights. Grey: what matched heads reach when the "
            "two refits read different prompts of the same length; only what rises above it depends on the text.",
        ),
        Chart(
            "stability_functions",
            function_chart,
            "Whether heads of refits also do the same",
            "What matched heads of two refits have in common above chance, by what they are compared on: attention "
            "patterns; what they write into the residual stream (debiased linear CKA over tokens); how much the loss "
            f"at each token rises without them (Pearson's r). With the {coverage} interval over refits "
            f"({OVER_REFITS}). 0 is what matched heads reach on different texts, 1 is agreement.",
        ),
        Chart(
            "stability_residual",
            residual_chart,
            "How similar the residual streams of refits are",
            "Debiased linear CKA of the residual stream before attention, over all pairs of refits, with the "
            f"{coverage} interval over refits ({OVER_REFITS}). Dashed: as published (Gaussian kernel, biased, every "
            "refit also compared with itself). Grey: models with random weights, whose streams share the tokens they "
            "read.",
        ),
        Chart(
            "stability_head_map",
            head_map_chart,
            "A map of heads",
            "Each symbol is a head; close together lie heads to which the same prompts look alike (t-SNE of the "
            "distances between mean outputs on all pairs of prompts). Colour: layer. Shape: refit. Distances between "
            "far groups of symbols mean nothing.",
        ),
    ]


def layer_chart(study: Study, tables: Tables) -> Any:
    """Lines of stability over layers above their chance level: a panel per group."""
    rows = tables["stability"]
    whole = rows["layer"].notna() & rows["head"].isna() & rows["words"].isna()
    rows = rows[
        whole
        & rows["analysis"].eq(Analysis.HEAD_STABILITY)
        & rows["measure"].eq(Measure.COSINE)
        & rows["value"].notna()
    ]
    return _panels(rows, "Cosine of matched heads")


def function_chart(study: Study, tables: Tables) -> Any:
    """Chance-corrected stability over layers by what heads are compared on: a panel per group."""
    rows = tables["stability"]
    rows = rows[
        rows["layer"].notna()
        & rows["head"].isna()
        & rows["analysis"].eq(Analysis.HEAD_STABILITY)
        & rows["version"].eq(Version.CORRECTED)
        & rows["weights"].eq(Weights.TRAINED)
        & rows["measure"].isin(COMPARED_ON)
        & rows["chance_corrected"].notna()
    ]
    if rows["measure"].nunique() < 2:
        return None
    points = rows[["group", "measure", "layer", "chance_corrected", "corrected_low", "corrected_high"]]
    points = points.assign(measure=points["measure"].map(COMPARED_ON))
    ends = (points[name].dropna() for name in ("corrected_low", "corrected_high") if points[name].notna().any())
    return panels_by(
        points, "group", partial(_function_panel, alt.Scale(domain=spread(points["chance_corrected"], *ends)))
    )


def _function_panel(scale: alt.Scale, points: pd.DataFrame) -> Any:
    base = alt.Chart(points, width=200, height=160).encode(
        x=layer_axis(),
        color=alt.Color(
            "measure:N",
            title="Compared on",
            scale=alt.Scale(domain=list(COMPARED_ON.values()), range=list(COLOURS[: len(COMPARED_ON)])),
        ),
    )
    value = alt.Y("chance_corrected:Q", title="Of what chance leaves", scale=scale)
    intervals = base.mark_rule().encode(
        y=alt.Y("corrected_low:Q", title="Of what chance leaves"), y2="corrected_high:Q"
    )
    symbols = base.mark_point(filled=True, size=30).encode(
        y=value,
        tooltip=tooltip(
            Group="group:N",
            Compared_on="measure:N",
            Layer="layer:O",
            Above_chance="chance_corrected:Q",
            Interval_from="corrected_low:Q",
            to="corrected_high:Q",
        ),
    )
    return alt.layer(base.mark_line().encode(y=value), intervals, symbols)


def residual_chart(study: Study, tables: Tables) -> Any:
    """Lines of similarity over layers: a panel per group."""
    rows = tables["stability"]
    rows = rows[
        rows["analysis"].eq(Analysis.RESIDUAL) & rows["taken_from"].eq(TakenFrom.BEFORE) & rows["layer"].notna()
    ]
    ours = rows["measure"].eq(Measure.LINEAR_DEBIASED) | rows["version"].eq(Version.PUBLISHED)
    return _panels(rows[ours & rows["value"].notna()], "Similarity (CKA)")


def head_map_chart(study: Study, tables: Tables) -> Any:
    """The plane of t-SNE: a panel per group."""
    points = tables["stability_head_map"]
    points = points[points["x"].notna()]
    if points.empty:
        return None
    layers = sorted(points["layer"].unique())
    refits = sorted(points["refit"].unique())
    colour = alt.Scale(domain=layers, range=[COLOURS[place % len(COLOURS)] for place in range(len(layers))])
    shape = alt.Scale(domain=refits, range=[SHAPES[place % len(SHAPES)] for place in range(len(refits))])
    plain = alt.Axis(labels=False, ticks=False, grid=False)

    def panel(own: pd.DataFrame) -> Any:
        return (
            alt.Chart(own[["group", "refit", "layer", "head", "x", "y"]], width=210, height=210)
            .mark_point(filled=True, size=34)
            .encode(
                x=alt.X("x:Q", title=None, axis=plain, scale=alt.Scale(zero=False, padding=6)),
                y=alt.Y("y:Q", title=None, axis=plain, scale=alt.Scale(zero=False, padding=6)),
                color=alt.Color("layer:O", title="Layer", scale=colour),
                shape=alt.Shape("refit:O", title="Refit", scale=shape),
                tooltip=tooltip(Group="group:N", Refit="refit:O", Layer="layer:O", Head="head:O"),
            )
        )

    return panels_by(points, "group", panel)


def _panels(rows: pd.DataFrame, title: str) -> Any:
    """Value over layers with interval and chance level, a line per version and for random weights."""
    if rows.empty:
        return None
    series = rows["version"].where(rows["weights"].eq(Weights.TRAINED), "random weights").astype(str)
    # Models with random weights are one line: the corrected one.
    rows = rows.assign(series=series)[rows["weights"].eq(Weights.TRAINED) | rows["version"].eq(Version.CORRECTED)]
    floor = float(rows[["value", "ci_low", "chance"]].min().min())
    scale = alt.Scale(domain=spread(rows["value"], *(rows[name].dropna() for name in ENDS if rows[name].notna().any())))
    numbers = ["group", "series", "layer", "value", "ci_low", "ci_high", "chance"]
    return panels_by(rows[numbers].assign(floor=floor), "group", partial(_panel, title, scale))


def _panel(title: str, scale: alt.Scale, points: pd.DataFrame) -> Any:
    base = alt.Chart(points, width=200, height=160).encode(x=layer_axis())
    corrected = base.transform_filter("datum.series === 'corrected'")
    floor = alt.Y("floor:Q", title=title, scale=scale)
    chance = corrected.mark_area(color=BAND, opacity=1).encode(y=floor, y2="chance:Q")
    lines = base.mark_line(color=COLOURS[0]).encode(
        y=alt.Y("value:Q", title=title, scale=scale),
        strokeDash=alt.StrokeDash(
            "series:N",
            scale=alt.Scale(domain=list(SERIES), range=list(DASHES)),
            legend=alt.Legend(title="Version", values=[name for name in SERIES if name in set(points["series"])]),
        ),
    )
    intervals = corrected.mark_rule(color=COLOURS[0]).encode(y="ci_low:Q", y2="ci_high:Q")
    symbols = base.mark_point(filled=True, size=30, color=COLOURS[0]).encode(
        y="value:Q",
        tooltip=tooltip(
            Group="group:N",
            Version="series:N",
            Layer="layer:O",
            Value="value:Q",
            Interval_from="ci_low:Q",
            to="ci_high:Q",
            Chance="chance:Q",
        ),
    )
    edge = corrected.mark_line(color=GREY, strokeWidth=1).encode(y="chance:Q")
    return alt.layer(chance, edge, intervals, lines, symbols)
