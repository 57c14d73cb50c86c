"""The figures about perturbed models."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from headwise.analyses.noise.probe import STABLE_WITHIN, SUPPRESSED_ABOVE
from headwise.analyses.noise.rows import Heads, NoiseResponse, ProbeResponse
from headwise.analyses.noise.settings import Region
from headwise.report.chart_parts import (
    families,
    labelled,
    methods,
    model_axis,
    model_labels,
    tooltip,
    vertical,
)
from headwise.report.columns import Tables
from headwise.report.labels import estimator_label, plain, titled
from headwise.report.part import Chart
from headwise.report.style import GREY, ROW, family_colour, method_shape
from headwise.study.study import Study


def charts(study: Study) -> Sequence[Chart]:
    """Response to noise, and probe; those that a study has data for are drawn."""
    return [
        Chart(
            "noise_response",
            noise_chart,
            "Change of the loss under noise",
            "Mean change of the teacher-forced loss per token of held-out text against the standard deviation of the "
            "noise in all layers, with its interval over refits; one panel per site and unit of σ. Rings: the same "
            "model with its key and value heads duplicated, which must lie on its own line.",
        ),
        Chart(
            "probe",
            probe_chart,
            "Response to the declared perturbation",
            "Change of the primary estimator under the one declared dose, per model and refit. Grey lines: the "
            f"published thresholds, ±{STABLE_WITHIN:g} % (stable) and +{SUPPRESSED_ABOVE:g} % (suppressed).",
        ),
    ]


def noise_chart(study: Study, tables: Tables) -> Any:
    """A panel per site and scale, a line per model."""
    rows = tables[NoiseResponse.table]
    rows = rows[rows["region"].eq(Region.ALL) & rows["delta_nll_nats"].notna()]
    if rows.empty:
        return None
    rows = rows.assign(family=[study.family_of(study.model(name)) for name in rows["model"]])
    labels = model_labels(study)
    rows["label"] = [
        labels[name] + (", duplicated heads" if heads == Heads.DUPLICATED else "")
        for name, heads in zip(rows["model"], rows["heads"], strict=True)
    ]
    return [
        _noise_panel(study, own, f"{titled(plain(str(site)))}, {scale} σ")
        for (site, scale), own in rows.groupby(["site", "scale"], sort=False)
    ]


def _noise_panel(study: Study, rows: pd.DataFrame, title: str) -> Any:
    points = rows[["label", "family", "heads", "sigma", "delta_nll_nats", "ci_low", "ci_high", "n"]]
    base = alt.Chart(points, width=250, height=170, title=title).encode(
        x=alt.X(
            "sigma:Q",
            title="σ",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(values=sorted(set(rows["sigma"]))),
        ),
        color=family_colour(families(study)),
    )
    lines = base.mark_line(strokeWidth=1.6).encode(
        y=alt.Y("delta_nll_nats:Q", title="Change of the loss (nats per token)"), detail="label:N"
    )
    # A ring around the dot: a line that lies on another would not be seen.
    symbols = base.mark_point().encode(
        y="delta_nll_nats:Q",
        size=alt.Size("heads:O", scale=alt.Scale(domain=list(Heads), range=[10, 70]), title="Heads"),
        tooltip=tooltip(Model="label:N", Sigma="sigma:Q", Change="delta_nll_nats:Q", Low="ci_low:Q", High="ci_high:Q"),
    )
    intervals = base.transform_filter("isValid(datum.ci_low)").mark_rule().encode(y="ci_low:Q", y2="ci_high:Q")
    return alt.layer(intervals, lines, symbols)


def probe_chart(study: Study, tables: Tables) -> Any:
    """A row per model, a symbol per refit, lines at the published thresholds."""
    rows = tables[ProbeResponse.table]
    rows = rows[rows["estimator"].eq(study.comparison.primary) & rows["change_percent"].notna()]
    if rows.empty:
        return None
    rows = labelled(study, rows.assign(family=[study.family_of(study.model(name)) for name in rows["model"]]))
    points = rows[["label", "model", "family", "method", "seed", "change_percent", "reading"]]
    title = f"Change of the {estimator_label(study.comparison.primary)} under noise (%)"
    symbols = (
        alt.Chart(points, width=560, height=alt.Step(ROW))
        .mark_point(filled=True)
        .encode(
            x=alt.X("change_percent:Q", title=title),
            y=model_axis(rows),
            color=family_colour(families(study)),
            shape=method_shape(methods(study), methods(study)),
            tooltip=tooltip(Model="label:N", Seed="seed:O", Change="change_percent:Q", Published_reading="reading:N"),
        )
    )
    thresholds = [_threshold(at) for at in (-STABLE_WITHIN, STABLE_WITHIN, SUPPRESSED_ABOVE)]
    return alt.layer(vertical(0).encode(x="at:Q"), *thresholds, symbols)


def _threshold(at: float) -> Any:
    return alt.Chart(pd.DataFrame({"at": [at]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(x="at:Q")
