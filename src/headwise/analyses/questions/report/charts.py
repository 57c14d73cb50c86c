"""A figure per question: what other parts draw of all models, of those alone that the question is about."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from headwise.analyses.effects.report.part import effect_chart, effects_caption
from headwise.analyses.effects.rows import EffectRow, RefitEffect
from headwise.analyses.noise.report.charts import noise_chart
from headwise.analyses.noise.rows import Heads, NoiseResponse, NoiseSharing
from headwise.analyses.questions.settings import Ask, Question, questions_of
from headwise.analyses.specialization.report.charts import change_chart, layer_chart, specialization_chart
from headwise.analyses.stability.report.charts import OVER_REFITS
from headwise.analyses.stability.report.charts import layer_chart as stability_chart
from headwise.report.chart_parts import families, layer_axis, model_labels, tooltip, vertical
from headwise.report.columns import Tables, is_primary
from headwise.report.labels import arm_label, estimator_title, method_label, plain
from headwise.report.part import Chart
from headwise.report.style import COLOURS, GREY, ROW, family_colour
from headwise.study.arms import arms
from headwise.study.study import Study

BY_LAYER = (Ask.EFFECT, Ask.EFFECT_DIFFERENCE, Ask.ARCHITECTURE)


def charts(study: Study) -> list[Chart]:
    """Of each question the figure that shows its answer, and where it can be told one by layer."""
    return [chart for question in questions_of(study) for chart in _charts(study, question)]


def figure_names(question: str, ask: str) -> list[str]:
    """Names of the figures of a question, as far as there is something to draw."""
    return [f"question_{question}", *([f"question_{question}_layers"] if ask in BY_LAYER else [])]


def _charts(study: Study, question: Question) -> Iterator[Chart]:
    names = figure_names(question.name, question.ask)
    draw, title, caption = _of_answer(study, question)
    yield Chart(names[0], draw, title, caption)
    if question.ask == Ask.ARCHITECTURE:
        index = estimator_title(study.comparison.primary)
        yield Chart(names[1], partial(_layers, question), f"{index} by layer", "A symbol per refit; lines are means.")
    elif question.ask in BY_LAYER:
        yield Chart(
            names[1],
            partial(effect_layers, question),
            f"{arm_label(str(question.method), question.dose)} beyond its placebo, by layer",
            f"{estimator_title(study.comparison.primary)} of the arm less that of its placebo: a symbol per refit, "
            "lines are means over refits.",
        )


def _of_answer(study: Study, question: Question) -> tuple[Callable[[Study, Tables], Any], str, str]:
    """What draws the answer, with title and caption."""
    coverage = f"{100 * (1 - study.comparison.level):g} %"
    primary = estimator_title(study.comparison.primary)
    group, method = plain(question.group or ""), method_label(question.method)
    if question.ask in (Ask.EFFECT, Ask.EFFECT_DIFFERENCE):
        title = f"What {arm_label(str(question.method), question.dose)} does, and its placebo"
        return partial(_effects, question), title, effects_caption(study)
    if question.ask == Ask.ARCHITECTURE:
        return partial(_bases, question), f"{primary} of both bases", "One symbol per refit; the bar is the mean."
    if question.ask == Ask.CHANGE:
        caption = f"Aligned model minus its base, refit by refit, with {coverage} intervals over prompts."
        return partial(_changes, question), f"{primary} under {method}", caption
    if question.ask == Ask.NOISE:
        caption = (
            "Mean change of the teacher-forced loss on held-out text against the standard deviation of the noise, with "
            f"{coverage} intervals over refits."
        )
        return partial(_noise, question), "Change of the loss under noise", caption
    if question.ask == Ask.SHARING:
        caption = (
            "Change of the loss under one draw of noise per shared head, over that under one per query head: ratio and "
            f"{coverage} interval over refits. At 1, the grey line, sharing does nothing."
        )
        return partial(sharing_chart, question), f"Noise in shared {question.site}, over noise of their own", caption
    caption = (
        f"Cosine of matched heads of two refits by layer, with {coverage} intervals ({OVER_REFITS}). Grey: chance, "
        "what matched heads reach on different prompts of one length. Dashed: as published; dotted: random weights."
    )
    return partial(_agreement, question), f"Agreement of refits of {group}", caption


def _models(study: Study, question: Question) -> list[str]:
    """The two base models that a question compares."""
    return [str(question.group), question.reference or study.reference()]


def _only(tables: Tables, name: str, kept: Callable[[pd.DataFrame], "pd.Series[bool]"]) -> Tables:
    """The tables, of one only the rows that are kept."""
    return {**tables, name: tables[name][kept(tables[name])]}


def _effects(question: Question, study: Study, tables: Tables) -> Any:
    def arm(rows: pd.DataFrame) -> "pd.Series[bool]":
        mine = rows["method"].eq(str(question.method)) & rows["dose"].eq(question.dose)
        if question.ask == Ask.EFFECT:
            return mine
        bases = rows["base" if "base" in rows else "group"]
        return mine & bases.isin(_models(study, question))

    tables = _only(_only(tables, EffectRow.table, arm), RefitEffect.table, arm)
    return effect_chart(study, tables)


def effect_layers(question: Question, study: Study, tables: Tables) -> Any:
    """Arm minus placebo in each layer, a symbol per refit, a line per base."""
    rows = tables["specialization"]
    rows = rows[is_primary(rows, study.comparison.primary) & rows["scope"].eq("layer")]
    values = rows.set_index(["model", "seed", "layer"])["value"]
    labels = model_labels(study)
    bases = None if question.ask == Ask.EFFECT else _models(study, question)
    found = []
    for arm, placebo in arms(study):
        if (arm.method, arm.dose) != (question.method, question.dose) or (bases and arm.base not in bases):
            continue
        known = [name for name in (arm.name, placebo.name) if name in values.index.get_level_values("model")]
        if len(known) == 2:
            effect = (values[arm.name] - values[placebo.name]).dropna().rename("effect").reset_index()
            found.append(effect.assign(label=labels[arm.base], family=study.family_of(study.model(arm.base))))
    if not found:
        return None
    points = pd.concat(found)[["label", "family", "seed", "layer", "effect"]]
    base = alt.Chart(points, width=420, height=200).encode(x=layer_axis(), color=family_colour(families(study)))
    lines = base.mark_line().encode(y="mean(effect):Q", detail="label:N")
    refits = base.mark_point(filled=True, size=26).encode(
        y=alt.Y("effect:Q", title="Arm − placebo"),
        tooltip=tooltip(Base="label:N", Seed="seed:O", Layer="layer:O", Effect="effect:Q"),
    )
    zero = alt.Chart(pd.DataFrame({"at": [0.0]})).mark_rule(color=GREY).encode(y="at:Q")
    return alt.layer(zero, lines, refits)


def _bases(question: Question, study: Study, tables: Tables) -> Any:
    names = _models(study, question)
    return specialization_chart(study, _only(tables, "specialization", lambda rows: rows["model"].isin(names)))


def _layers(question: Question, study: Study, tables: Tables) -> Any:
    names = _models(study, question)
    return layer_chart(study, _only(tables, "specialization", lambda rows: rows["model"].isin(names)))


def _changes(question: Question, study: Study, tables: Tables) -> Any:
    def kept(rows: pd.DataFrame) -> "pd.Series[bool]":
        return rows["method"].eq(str(question.method)) & is_primary(rows, study.comparison.primary)

    return change_chart(study, _only(tables, "comparisons", kept))


def _noise(question: Question, study: Study, tables: Tables) -> Any:
    def kept(rows: pd.DataFrame) -> "pd.Series[bool]":
        cell = rows["site"].eq(question.site) & rows["scale"].eq(question.scale)
        return cell & rows["model"].isin(_models(study, question)) & rows["heads"].eq(Heads.AS_MADE)

    return noise_chart(study, _only(tables, NoiseResponse.table, kept))


def sharing_chart(question: Question, study: Study, tables: Tables) -> Any:
    """Ratios with their intervals, a row per model whose heads were duplicated."""
    rows = tables[NoiseSharing.table]
    rows = rows[rows["site"].eq(question.site) & rows["scale"].eq(question.scale) & rows["region"].eq("all")]
    rows = rows[rows["ratio"].notna()]
    if rows.empty:
        return None
    labels = model_labels(study)
    points = pd.DataFrame(
        {
            "label": [labels[name] for name in rows["model"]],
            "ratio": np.exp(rows["log_ratio"]),
            "low": np.exp(rows["log_low"]),
            "high": np.exp(rows["log_high"]),
            "refits": rows["n"],
        }
    )
    y = alt.Y("label:N", sort=list(points["label"]), title=None, axis=alt.Axis(ticks=False))
    base = alt.Chart(points, width=420, height=alt.Step(2 * ROW)).encode(y=y)
    x = alt.X("low:Q", title="Shared over independent (times)", scale=alt.Scale(zero=False, padding=12))
    intervals = base.mark_rule(strokeWidth=2, color=COLOURS[0]).encode(x=x, x2="high:Q")
    symbols = base.mark_point(filled=True, shape="diamond", size=80, color=COLOURS[0]).encode(
        x="ratio:Q", tooltip=tooltip(Model="label:N", Ratio="ratio:Q", From="low:Q", to="high:Q", Refits="refits:O")
    )
    return alt.layer(vertical(1), intervals, symbols)


def _agreement(question: Question, study: Study, tables: Tables) -> Any:
    return stability_chart(study, _only(tables, "stability", lambda rows: rows["group"].eq(str(question.group))))
