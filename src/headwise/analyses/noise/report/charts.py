"""The figures about perturbed models and recursive generation."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from headwise.analyses.noise.noise_rows import AS_MADE, DUPLICATED
from headwise.analyses.noise.probe import STABLE_WITHIN, SUPPRESSED_ABOVE
from headwise.report.chart_parts import (
    PANELS_PER_ROW,
    families,
    labelled,
    methods,
    model_axis,
    model_labels,
    tooltip,
    vertical,
)
from headwise.report.columns import Tables
from headwise.report.labels import estimator_label, plain, short_labels, titled
from headwise.report.part import Chart
from headwise.report.style import COLOURS, GREY, ROW, family_colour, method_shape
from headwise.study.study import Study

MEASURES = {
    "distinct_2": "Different bigrams (share)",
    "repeated_share": "Longest repeated span (share)",
    "similarity": "Bigrams shared with the generation before",
    "nll_nats": "Negative ln p per token (nats)",
}


def charts(study: Study) -> Sequence[Chart]:
    """Noise response, probe, survival and measures of generations; those that a study has data for are drawn."""
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


def noise_chart(study: Study, tables: Tables) -> Any:
    """A panel per site and scale, a line per model."""
    rows = tables["noise_response"]
    rows = rows[rows["region"].eq("all") & rows["delta_nll_nats"].notna()]
    if rows.empty:
        return None
    rows = rows.assign(family=[study.family_of(study.model(name)) for name in rows["model"]])
    labels = model_labels(study)
    rows["label"] = [
        labels[name] + (", duplicated heads" if heads == DUPLICATED else "")
        for name, heads in zip(rows["model"], rows["heads"], strict=True)
    ]
    panels = [
        _noise_panel(study, own, f"{titled(plain(str(site)))}, {scale} σ")
        for (site, scale), own in rows.groupby(["site", "scale"], sort=False)
    ]
    return alt.concat(*panels, columns=2, spacing=16)


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
        size=alt.Size("heads:N", scale=alt.Scale(domain=[AS_MADE, DUPLICATED], range=[10, 70]), title="Heads"),
        tooltip=tooltip(Model="label:N", Sigma="sigma:Q", Change="delta_nll_nats:Q", Low="ci_low:Q", High="ci_high:Q"),
    )
    intervals = base.transform_filter("isValid(datum.ci_low)").mark_rule().encode(y="ci_low:Q", y2="ci_high:Q")
    return alt.layer(intervals, lines, symbols)


def probe_chart(study: Study, tables: Tables) -> Any:
    """A row per model, a symbol per refit, lines at the published thresholds."""
    rows = tables["probe"]
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


def survival_chart(study: Study, tables: Tables) -> Any:
    """A panel per arm: steps of all refits together, and of each."""
    rows = tables["recursion_survival"]
    if rows.empty:
        return None
    arms = list(dict.fromkeys(rows["arm"]))
    panels = [
        _survival_panel(rows[rows["arm"] == arm], arm, colour) for arm, colour in zip(arms, _colours(arms), strict=True)
    ]
    return alt.concat(*panels, columns=PANELS_PER_ROW, spacing=16)


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
    rows = tables["recursion_generations"]
    if rows.empty:
        return None
    arms = short_labels(rows["arm"])
    colours = alt.Scale(domain=list(arms.values()), range=_colours(list(arms)))
    colour = alt.Color("arm:N", scale=colours, legend=alt.Legend(title="Arm", symbolType="stroke"))
    panels = []
    for name, title in MEASURES.items():
        points = rows[rows[name].notna()]
        points = points.assign(arm=points["arm"].map(arms))
        means = points.groupby(["arm", "generation"], sort=False)[name].mean().rename("value").reset_index()
        panels.append(
            alt.Chart(means, width=240, height=140, title=title)
            .mark_line(strokeWidth=1.6)
            .encode(
                x=alt.X("generation:Q", title="Generation", axis=alt.Axis(tickMinStep=1, format="d")),
                y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
                color=colour,
                tooltip=tooltip(Arm="arm:N", Generation="generation:O", Mean="value:Q"),
            )
        )
    return alt.concat(*panels, columns=2, spacing=16)


def _colours(names: Sequence[str]) -> list[str]:
    return [COLOURS[position % len(COLOURS)] for position in range(len(names))]
