"""Maps of layer × head: what heads attend to, what alignment changes in that, what their ablation costs, how stable
they are. One figure, of which the reader chooses model, refit and quantity."""

from collections.abc import Iterator
from typing import Any

import altair as alt
import pandas as pd

from headwise.analyses.stability.names import Analysis, Measure, TakenFrom, Version, Weights
from headwise.report.chart_parts import model_labels
from headwise.report.columns import Tables, counted
from headwise.report.labels import DESCRIPTORS
from headwise.report.style import ROW
from headwise.study.study import Study

HEAD = ["seed", "layer", "head"]
OF_REFITS = {
    "stability": "Stability across refits (cosine)",
    "importance": "Rise of the loss when it writes its mean (nats)",
}
MOST_HEADS = 2400  # of all models and refits together: the page stays small


def head_maps_chart(study: Study, tables: Tables) -> Any:
    """A cell per head, coloured by the chosen quantity; models that come first in the study first, refit by refit."""
    found = list(_models(study, tables))
    if not found:
        return None
    heads = pd.concat(found, ignore_index=True).sort_values("seed", kind="stable").head(MOST_HEADS)
    labels = list(dict.fromkeys(heads["label"]))
    names = {name: title for name, title in (DESCRIPTORS | OF_REFITS).items() if heads[name].notna().any()}
    # Numbers alone: what is undefined among objects would be no null in the specification.
    heads = heads.astype(dict.fromkeys(names, "float64"))
    seeds = sorted({int(seed) for seed in heads["seed"]})
    model = alt.param(name="model", value=labels[0], bind=alt.binding_select(options=labels, name="Model "))
    refit = alt.param(name="refit", value=seeds[0], bind=alt.binding_select(options=seeds, name="Refit "))
    quantity = alt.param(
        name="quantity",
        value=next(iter(names)),
        bind=alt.binding_select(options=list(names), labels=list(names.values()), name="Shown "),
    )
    # Colours turn at 0, and reach as far as the largest value of the chosen model and quantity.
    sizes = heads[list(names)].abs().groupby(heads["label"], sort=False).max()
    sizes = sizes.fillna(1).replace(0, 1)
    largest = alt.param(name="largest", expr=f"({sizes.to_json(orient='index', force_ascii=False)})[model][quantity]")
    layers = int(heads["layer"].nunique())
    return (
        alt.Chart(heads[["label", *HEAD, *names]], width=420, height=layers * max(8, min(ROW, 480 // layers)))
        .mark_rect(opacity=1)
        .transform_filter("datum.label === model && datum.seed === refit")
        .transform_calculate(shown="datum[quantity]")
        .transform_filter("isValid(datum.shown)")
        .encode(
            x=alt.X("head:O", title="Head", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("layer:O", title="Layer"),
            color=alt.Color(
                "shown:Q",
                scale=alt.Scale(scheme="blueorange", domainMin=alt.expr("-largest"), domainMax=alt.expr("largest")),
                legend=alt.Legend(orient="top", title=None, gradientLength=160),
            ),
            tooltip=[
                alt.Tooltip("layer:O", title="Layer"),
                alt.Tooltip("head:O", title="Head"),
                alt.Tooltip("shown:Q", title="Value", format=".4~g"),
            ],
        )
        .add_params(model, refit, quantity, largest)
    )


def _models(study: Study, tables: Tables) -> Iterator[pd.DataFrame]:
    """Heads of each base, then what alignment changed in those of its descendants."""
    rows = counted(tables["descriptors"], tables["models"])
    rows = rows.astype(dict.fromkeys(HEAD, "int64"))
    of_model = {str(name): own.set_index(HEAD)[list(DESCRIPTORS)] for name, own in rows.groupby("model", sort=False)}
    labels = model_labels(study)
    for base in study.bases():
        if base.name in of_model:
            shown = of_model[base.name].join(_of_refits(study, tables, base.name), how="left")
            yield shown.reset_index().assign(label=labels[base.name])
    for aligned in study.descendants():
        base_of = str(getattr(aligned, "base", None))
        if aligned.name in of_model and base_of in of_model:
            change = (of_model[aligned.name] - of_model[base_of]).dropna(how="all")
            empty = dict.fromkeys(OF_REFITS)
            yield change.reset_index().assign(label=f"{labels[aligned.name]} − its base", **empty)


def _of_refits(study: Study, tables: Tables, base: str) -> pd.DataFrame:
    """Stability and importance of the heads of a base that is a group of refits; empty where it is none."""
    rows = tables["stability"]
    rows = rows[rows["group"].eq(base) & rows["head"].notna() & rows["refit"].notna()]
    rows = rows[rows["version"].eq(Version.CORRECTED) & rows["weights"].eq(Weights.TRAINED)]
    stable = rows["analysis"].eq(Analysis.HEAD_STABILITY) & rows["measure"].eq(Measure.COSINE) & rows["words"].isna()
    costly = rows["analysis"].eq(Analysis.IMPORTANCE) & rows["measure"].eq(Measure.MEAN_ABLATION)
    chosen = {"stability": rows[stable], "importance": rows[costly & rows["taken_from"].eq(TakenFrom.HELD_OUT)]}
    seeds = dict(enumerate(study.seeds_of(study.model(base))))
    columns = {}
    for name, own in chosen.items():
        placed = own.assign(seed=own["refit"].map(seeds)).dropna(subset=["seed"])
        columns[name] = placed.astype(dict.fromkeys(HEAD, "int64")).set_index(HEAD)["value"]
    return pd.DataFrame(columns)
