"""The figures' specifications: one function each, from the study and its tables to a Vega-Lite chart.

Each chart holds the very numbers of a table, with readable labels added; nothing is computed while drawing.
"""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from headwise.report.labels import BASE, DESCRIPTORS, estimator_title, method_label, plain
from headwise.report.style import GREY, PLAIN_LABEL, ROW, family_colour, method_shape
from headwise.study import Study

Tables = Mapping[str, pd.DataFrame]
PANELS_PER_ROW = 3
POINTS_OF_A_CURVE = 75
ROUNDING = 1e-9


def specialization_chart(study: Study, tables: Tables) -> Any:
    """Value of the primary estimator for every base and its descendants: a point per refit, a bar at their mean."""
    rows = _labelled(study, _primary(study, tables["specialization"], "model"))
    columns = ["label", "model", "family", "method", "seed", "value"]
    points = _data(rows[columns])
    order = list(dict.fromkeys(rows["label"]))
    y = alt.Y("label:N", sort=order, title=None, axis=alt.Axis(grid=True, ticks=False, labelLimit=260))
    x = alt.X(
        "value:Q", title=estimator_title(study.comparison.primary), scale=alt.Scale(zero=False, nice=True)
    )
    base = alt.Chart(points, width=560, height=alt.Step(ROW)).encode(
        y=y, color=family_colour(_families(study))
    )
    refits = base.mark_point(filled=True).encode(
        x=x,
        shape=method_shape(_methods(study), _methods(study)),
        tooltip=_tooltip(("Model", "label:N"), ("Refit (seed)", "seed:O"), ("Value", "value:Q")),
    )
    means = base.mark_tick(thickness=2.5, size=ROW - 4).encode(x=alt.X("mean(value):Q"))
    return alt.layer(means, refits)


def change_chart(study: Study, tables: Tables) -> Any:
    """Change under alignment within each refit, with its interval: a panel per estimator."""
    tests = tables["comparisons"]
    chosen = tests[
        tests["level"].eq("model")
        & tests["scope"].eq("refit")
        & tests["sink"].eq("kept")
        & tests["role"].ne("repeat")
        & tests["delta_absolute"].notna()
    ]
    if chosen.empty:
        return None
    rows = _labelled(study, chosen.rename(columns={"aligned": "model"}))
    rows["seed"] = rows["seed"].astype("string")
    rows["significant"] = (rows["p_adjusted"] <= study.comparison.level).fillna(False).astype(bool)
    panels = []
    for position, estimator in enumerate(_estimators(study, rows)):
        own = rows[rows["estimator"] == estimator]
        panels.append(_change_panel(study, estimator, own, labelled=position % PANELS_PER_ROW == 0))
    return alt.concat(*panels, columns=PANELS_PER_ROW, spacing=16)


def _change_panel(study: Study, estimator: str, rows: pd.DataFrame, labelled: bool) -> Any:
    columns = [
        "label",
        "model",
        "family",
        "method",
        "seed",
        "delta_absolute",
        "ci_low",
        "ci_high",
        "p_adjusted",
    ]
    columns += ["p_attainable", "verdict", "significant"]
    axis = alt.Axis(labels=labelled, ticks=False, grid=True, labelLimit=260)
    y = alt.Y("label:N", sort=list(dict.fromkeys(rows["label"])), title=None, axis=axis)
    refits = rows["seed"].nunique()
    size = alt.Step(max(ROW, 7 * refits + 6), **{"for": "position"})
    position = {"y": y, "yOffset": alt.YOffset("seed:N", scale=alt.Scale(paddingInner=0.2, paddingOuter=0.4))}
    data = _data(rows[columns])
    chart = alt.Chart(data, width=190, height=size, title=estimator_title(estimator))
    chart = chart.encode(color=family_colour(_families(study)), **position)
    intervals = chart.mark_rule(strokeWidth=1.6).encode(
        x=alt.X("ci_low:Q", title="Aligned − base", axis=alt.Axis(tickCount=3)), x2="ci_high:Q"
    )
    methods = [method for method in _methods(study) if method != BASE]
    points = chart.mark_point(size=48, filled=True).encode(
        x="delta_absolute:Q",
        shape=method_shape(_methods(study), methods),
        tooltip=_tooltip(
            ("Model", "label:N"),
            ("Refit (seed)", "seed:N"),
            ("Change", "delta_absolute:Q"),
            ("Interval from", "ci_low:Q"),
            ("to", "ci_high:Q"),
            ("Adjusted p", "p_adjusted:Q"),
            ("Smallest attainable p", "p_attainable:Q"),
            ("Verdict", "verdict:N"),
        ),
    )
    # A white centre, drawn over the symbol: hollow symbols would be missing from the legend.
    centres = (
        alt.Chart(data).transform_filter("!datum.significant").mark_circle(size=10, color="white", opacity=1)
    )
    centres = centres.encode(x="delta_absolute:Q", **position)
    layers = [_rule(0), intervals, points, centres]
    if estimator == study.comparison.primary:
        margin = study.comparison.equivalence_margin
        band = alt.Chart(_data(pd.DataFrame({"low": [-margin], "high": [margin]})))
        layers.insert(0, band.mark_rect(color="#ECECEC", opacity=1).encode(x="low:Q", x2="high:Q"))
    return alt.layer(*layers)


def layer_chart(study: Study, tables: Tables) -> Any:
    """Value of the primary estimator by layer: a panel per family, a line per model, a point per refit."""
    rows = _labelled(study, _primary(study, tables["specialization"], "layer"))
    if rows.empty:
        return None
    base = alt.Chart(_data(rows[["label", "model", "family", "method", "seed", "layer", "value"]]))
    x = alt.X("layer:Q", title="Layer", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(padding=6))
    y = alt.Y("value:Q", title=estimator_title(study.comparison.primary), scale=alt.Scale(zero=False))
    colour = family_colour(_families(study), legend=False)
    lines = base.mark_line().encode(
        x=x,
        y=alt.Y("mean(value):Q"),
        color=colour,
        strokeDash=alt.StrokeDash("method:N", scale=_dashes(_methods(study)), legend=None),
    )
    points = base.mark_point(filled=True, size=26).encode(
        x=x,
        y=y,
        color=colour,
        shape=method_shape(_methods(study), _methods(study)),
        tooltip=_tooltip(
            ("Model", "label:N"), ("Refit (seed)", "seed:O"), ("Layer", "layer:O"), ("Value", "value:Q")
        ),
    )
    return _by_family(study, alt.layer(lines, points).properties(width=200, height=150))


def training_chart(study: Study, tables: Tables) -> Any:
    """Loss curves of everything that was trained: a row of panels per stage, a panel per family."""
    curves = tables["training"]
    if curves.empty:
        return None
    entropy = tables["models"].groupby("family", sort=False)["unigram_entropy_nats"].mean()
    rows = _labelled(study, curves)
    rows["split"] = rows["split"].map({"train": "training text", "held_out": "held-out text"})
    rows["unigram"] = rows["family"].map(entropy).where(rows["method"] == BASE)
    stages = []
    for method in dict.fromkeys(rows["method"]):
        own = rows[rows["method"] == method]
        # Training loss exists for every step; a curve needs no more points than it has pixels.
        every = max(1, int(own["step"].max()) // POINTS_OF_A_CURVE)
        own = own[own["split"].eq("held-out text") | (own["step"] % every == 0)]
        title = "Training from scratch" if method == BASE else f"Alignment by {method}"
        base = alt.Chart(
            _data(own[["label", "model", "family", "seed", "step", "split", "loss_nats", "unigram"]]),
            width=170,
            height=110,
        )
        lines = base.mark_line(strokeWidth=1.2).encode(
            x=alt.X("step:Q", title="Step"),
            y=alt.Y("loss_nats:Q", title="Loss (nats)", scale=alt.Scale(zero=False)),
            color=family_colour(_families(study), legend=False),
            strokeDash=alt.StrokeDash(
                "split:N",
                scale=alt.Scale(domain=["training text", "held-out text"], range=[[2, 2], [1, 0]]),
                legend=alt.Legend(title="Text", symbolType="stroke"),
            ),
            detail=["model:N", "seed:N"],
            tooltip=_tooltip(
                ("Model", "label:N"),
                ("Refit (seed)", "seed:O"),
                ("Step", "step:Q"),
                ("Loss (nats)", "loss_nats:Q"),
            ),
        )
        layers = [lines]
        if method == BASE and own["unigram"].notna().any():
            layers.insert(0, base.mark_rule(color=GREY, strokeDash=[6, 3]).encode(y="mean(unigram):Q"))
        stages.append(_by_family(study, alt.layer(*layers), columns=4).properties(title=title))
    return alt.vconcat(*stages, spacing=14)


def head_permutation_chart(study: Study, tables: Tables) -> Any:
    """Value against value with heads shuffled within layers; on the line, nothing changed.

    A panel for the primary estimator, and for every other that the order of heads makes a difference to.
    """
    checks = tables["checks"]
    chosen = checks[
        checks["check"].eq("head_permutation")
        & checks["sink"].eq("kept")
        & checks["value"].notna()
        & checks["checked_value"].notna()
    ]
    if chosen.empty:
        return None
    rows = _labelled(study, chosen)
    rows["low"] = rows["checked_value"] - rows["deviation"].fillna(0)
    rows["high"] = rows["checked_value"] + rows["deviation"].fillna(0)
    panels = []
    for estimator in _estimators(study, rows):
        own = rows[rows["estimator"] == estimator]
        if estimator != study.comparison.primary and own["largest_change"].abs().max() <= ROUNDING:
            continue
        ends = [min(own["value"].min(), own["low"].min()), max(own["value"].max(), own["high"].max())]
        domain = alt.Scale(domain=ends, nice=True, zero=False, padding=6)
        diagonal = alt.Chart(_data(pd.DataFrame({"value": ends, "checked_value": ends})))
        columns = ["label", "model", "family", "method", "seed", "value", "checked_value", "low", "high"]
        base = alt.Chart(_data(own[columns]), width=190, height=190, title=estimator_title(estimator)).encode(
            x=alt.X("value:Q", title="Value", scale=domain, axis=alt.Axis(tickCount=5)),
            color=family_colour(_families(study)),
        )
        deviations = base.mark_rule().encode(
            y=alt.Y("low:Q", title="Heads shuffled", scale=domain, axis=alt.Axis(tickCount=5)), y2="high:Q"
        )
        points = base.mark_point(filled=True, size=30).encode(
            y="checked_value:Q",
            shape=method_shape(_methods(study), _methods(study)),
            tooltip=_tooltip(
                ("Model", "label:N"),
                ("Refit (seed)", "seed:O"),
                ("Value", "value:Q"),
                ("Heads shuffled", "checked_value:Q"),
            ),
        )
        line = diagonal.mark_line(color=GREY, strokeWidth=1).encode(x="value:Q", y="checked_value:Q")
        panels.append(alt.layer(line, deviations, points))
    return alt.concat(*panels, columns=PANELS_PER_ROW, spacing=16)


def descriptor_chart(study: Study, tables: Tables) -> Any:
    """What the heads of the bases do, by layer: the head that scores highest, and the median head; a panel each."""
    rows = tables["descriptors"]
    rows = rows[rows["base"].isna()]
    if rows.empty:
        return None
    spread = rows.groupby(["model", "family", "seed", "layer"], sort=False)[list(DESCRIPTORS)].agg(
        ["max", "median"]
    )
    panels = []
    for name, title in DESCRIPTORS.items():
        long = (
            spread[name]
            .reset_index()
            .melt(
                ["model", "family", "seed", "layer"], ["max", "median"], var_name="head", value_name="value"
            )
        )
        long["head"] = long["head"].map({"max": "highest head", "median": "median head"})
        long["label"] = long["model"].map(plain)
        chart = alt.Chart(_data(long), width=190, height=140, title=title)
        panels.append(
            chart.mark_line(point=alt.OverlayMarkDef(size=18, opacity=1)).encode(
                x=alt.X(
                    "layer:Q",
                    title="Layer",
                    axis=alt.Axis(tickMinStep=1, format="d"),
                    scale=alt.Scale(padding=6),
                ),
                y=alt.Y("mean(value):Q", title=None),
                color=family_colour(_families(study)),
                strokeDash=alt.StrokeDash(
                    "head:N",
                    scale=alt.Scale(domain=["highest head", "median head"], range=[[1, 0], [4, 3]]),
                    legend=alt.Legend(title="Head of the layer", symbolType="stroke"),
                ),
                detail="model:N",
                tooltip=_tooltip(
                    ("Model", "label:N"), ("Layer", "layer:O"), ("Mean over refits", "mean(value):Q")
                ),
            )
        )
    return alt.concat(*panels, columns=PANELS_PER_ROW, spacing=16)


def _primary(study: Study, specialization: pd.DataFrame, scope: str) -> pd.DataFrame:
    rows = specialization[
        specialization["scope"].eq(scope)
        & specialization["estimator"].eq(study.comparison.primary)
        & specialization["sink"].eq("kept")
        & specialization["value"].notna()
    ]
    return rows


def _labelled(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the models' labels and readable methods, families together, each base before its descendants."""
    families = _families(study)
    together = sorted(study.models, key=lambda model: families.index(study.family_of(model)))
    order = {model.name: position for position, model in enumerate(together)}
    rows = rows.sort_values("model", key=lambda names: names.map(order).astype("int64"), kind="stable")
    return rows.assign(
        label=rows["model"].map(plain), method=rows["method"].map(method_label, na_action=None)
    )


def _families(study: Study) -> list[str]:
    return list(dict.fromkeys(study.family_of(model) for model in study.models))


def _methods(study: Study) -> list[str]:
    methods = dict.fromkeys(method_label(getattr(model, "method", None)) for model in study.models)
    return list(methods)


def _estimators(study: Study, rows: pd.DataFrame) -> list[str]:
    """Estimators that the rows have, the primary one first."""
    present = set(rows["estimator"])
    names = [study.comparison.primary, *study.specialization.estimators]
    return [name for name in dict.fromkeys(names) if name in present]


def _dashes(methods: list[str]) -> alt.Scale:
    dashes = [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2], [4, 4], [1, 3]]
    return alt.Scale(
        domain=methods, range=[dashes[position % len(dashes)] for position in range(len(methods))]
    )


def _by_family(study: Study, chart: Any, columns: int = PANELS_PER_ROW) -> Any:
    facet = alt.Facet("family:N", sort=_families(study), title=None, header=alt.Header(labelExpr=PLAIN_LABEL))
    return chart.facet(facet=facet, columns=columns)


def _rule(at: float) -> alt.Chart:
    return (
        alt.Chart(_data(pd.DataFrame({"zero": [at]}))).mark_rule(color=GREY, strokeWidth=1).encode(x="zero:Q")
    )


def _tooltip(*fields: tuple[str, str]) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(field, title=title, **({"format": ".4~f"} if field.endswith(":Q") else {}))
        for title, field in fields
    ]


def _data(rows: pd.DataFrame) -> alt.InlineData:
    """The rows as they are, in the specification itself; an empty cell is null."""
    return alt.InlineData(values=rows.astype(object).where(rows.notna(), None).to_dict("records"))
