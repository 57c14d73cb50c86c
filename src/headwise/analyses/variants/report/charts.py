"""The figure about variants: how far each moves each estimator, beside what alignment moves it."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from headwise.analyses.specialization.report.chosen import estimators
from headwise.report.chart_parts import PANELS_PER_ROW, families, model_labels, tooltip
from headwise.report.columns import Tables
from headwise.report.labels import estimator_title, short_labels
from headwise.report.part import Chart
from headwise.report.style import GREY, ROW, family_colour
from headwise.study.study import Study


def charts(study: Study) -> Sequence[Chart]:
    """The one figure."""
    return [
        Chart(
            "confounds",
            confound_chart,
            "What the extraction moves, and what alignment moves",
            "Absolute difference of each estimator between a variant of the extraction and its reference, on the "
            "same model and prompts, all keys kept; a symbol per model. Solid line: the mean absolute change under "
            "alignment in this study; dashed line: the standard deviation between base models. A choice to the right "
            "of the solid line moves the estimator by more than alignment does.",
        )
    ]


def confound_chart(study: Study, tables: Tables) -> Any:
    """A panel per estimator, a row per variant, a symbol per model; lines at the effect of alignment and the spread."""
    shifts = tables["variants"]
    shifts = shifts[shifts["sink"].eq("kept") & shifts["difference"].notna()]
    if shifts.empty:
        return None
    confounds = tables["confounds"]
    confounds = confounds[confounds["sink"].eq("kept")]
    variants = short_labels(shifts["variant"])
    return [
        _panel(
            study,
            name,
            shifts[shifts["estimator"] == name],
            confounds[confounds["estimator"] == name],
            variants,
            column,
        )
        for column, name in enumerate(estimators(study, shifts))
    ]


def _panel(
    study: Study, estimator: str, shifts: pd.DataFrame, confounds: pd.DataFrame, variants: dict[str, str], position: int
) -> Any:
    points = pd.DataFrame(
        {
            "variant": shifts["variant"].map(variants),
            "label": shifts["model"].map(model_labels(study)),
            "family": shifts["family"],
            "seed": shifts["seed"],
            "size": shifts["difference"].abs(),
            "difference": shifts["difference"],
        }
    )
    first = position % PANELS_PER_ROW == 0
    rows = alt.Y(
        "variant:N",
        sort=list(variants.values()),
        title=None,
        axis=alt.Axis(labels=first, ticks=False, grid=True, labelPadding=8),
    )
    sizes = alt.X("size:Q", title="Absolute difference", axis=alt.Axis(tickCount=4), scale=alt.Scale(zero=True))
    chart = alt.Chart(points, width=190, height=ROW * len(variants), title=estimator_title(estimator))
    symbols = chart.mark_point(filled=True, size=30).encode(
        x=sizes,
        y=rows,
        color=family_colour(families(study)),
        tooltip=tooltip(Variant="variant:N", Model="label:N", Seed="seed:O", Difference="difference:Q"),
    )
    lines = [
        alt.Chart(pd.DataFrame({"size": [float(values.iloc[0])]}))
        .mark_rule(color=GREY, strokeDash=dash)
        .encode(x="size:Q")
        for column, dash in (("alignment_effect", [1, 0]), ("spread_between_models", [4, 3]))
        if len(values := confounds[column].dropna())
    ]
    return alt.layer(*lines, symbols)
