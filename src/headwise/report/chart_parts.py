"""What the figures share: rows with readable labels, panels by family, tooltips."""

from collections.abc import Callable
from typing import Any

import altair as alt
import pandas as pd

from headwise.report.columns import is_primary
from headwise.report.labels import BASE, arm_labels, method_labels, plain, short_labels
from headwise.report.style import GREY
from headwise.study.study import Study

PANELS_PER_ROW = 3  # where there is room
ROOM = 0.03  # of the span, at both ends
HALF_OF_ONE_VALUE = 0.05  # half the length of an axis that shows a single value


def primary_values(study: Study, specialization: pd.DataFrame, scope: str) -> pd.DataFrame:
    """Defined values of the primary estimator with all keys kept, of the scope "model" or "layer"."""
    chosen = is_primary(specialization, study.comparison.primary) & specialization["value"].notna()
    return specialization[chosen & specialization["scope"].eq(scope)]


def labelled(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with labels of models and methods; families together, each base before its descendants."""
    order = families(study)
    together = sorted(study.models, key=lambda model: order.index(study.family_of(model)))
    position = {model.name: place for place, model in enumerate(together)}
    rows = rows.sort_values("model", key=lambda names: names.map(position).astype("int64"), kind="stable")
    labels, of_methods = model_labels(study), _methods(study)
    return rows.assign(
        label=[labels[name] for name in rows["model"]], method=[of_methods[name] for name in rows["model"]]
    )


def model_labels(study: Study) -> dict[str, str]:
    """What the figures call each model, no two the same."""
    return short_labels(model.name for model in study.models)


def _methods(study: Study) -> dict[str, str]:
    """By model: the label of its method of alignment; "base" where it descends from no other model."""
    aligned = {model.name: study.method_of(model) for model in study.descendants()}
    labels = method_labels(aligned.values(), arm_labels(study))
    return {model.name: labels[aligned[model.name]] if model.name in aligned else BASE for model in study.models}


def families(study: Study) -> list[str]:
    """Families in the order of the study."""
    return list(dict.fromkeys(study.family_of(model) for model in study.models))


def methods(study: Study) -> list[str]:
    """Labels of the methods of alignment in the order of the study, "base" among them."""
    return list(dict.fromkeys(_methods(study).values()))


def layer_axis() -> alt.X:
    """Layers, counted from 0."""
    axis = alt.Axis(tickMinStep=1, format="d")
    return alt.X("layer:Q", title="Layer", axis=axis, scale=alt.Scale(padding=6))


def model_axis(rows: pd.DataFrame, labels: bool = True) -> alt.Y:
    """One row per model, in the order of the rows."""
    axis = alt.Axis(labels=labels, ticks=False, grid=True)
    return alt.Y("label:N", sort=list(dict.fromkeys(rows["label"])), title=None, axis=axis)


def panels_by(rows: pd.DataFrame, column: str, draw: Callable[[pd.DataFrame], Any]) -> list[Any]:
    """A panel per name in a column, in the order of the rows, titled with it."""
    groups = rows.groupby(column, sort=False)
    return [draw(own).properties(title=plain(str(name))) for name, own in groups]


def spread(*values: "pd.Series[float]") -> list[float]:
    """The ends of an axis that shows the values with some room at both ends, also where all are equal."""
    low, high = float(min(each.min() for each in values)), float(max(each.max() for each in values))
    room = ROOM * (high - low) or HALF_OF_ONE_VALUE
    return [low - room, high + room]


def vertical(at: float) -> alt.Chart:
    """A thin vertical line."""
    line = alt.Chart(pd.DataFrame({"at": [at]}))
    return line.mark_rule(color=GREY, strokeWidth=1).encode(x="at:Q")


def tooltip(**fields: str) -> list[alt.Tooltip]:
    """Title and field of each line, underscores of a title as spaces; numbers with up to four significant digits.

    Whole numbers are ordinal, p-values text (`p_value`): they are not rounded.
    """
    lines = []
    for title, field in fields.items():
        line = alt.Tooltip(field, title=plain(title))
        lines.append(line.format(".4~g") if field.endswith(":Q") else line)
    return lines
