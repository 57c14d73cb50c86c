"""What alignment does beyond its placebo, in the report."""

from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from headwise.analyses.effects.measure import ALL
from headwise.analyses.effects.rows import COLUMNS, EffectRow, Quantity, RefitEffect
from headwise.analyses.effects.rows import TABLES as ROWS
from headwise.analyses.questions.settings import Ask, questions_of
from headwise.report.chart_parts import tooltip, vertical
from headwise.report.columns import Tables, is_primary
from headwise.report.finding import Finding, described
from headwise.report.labels import (
    arm_label,
    estimator_label,
    estimator_title,
    interval,
    number,
    p_value,
    plain,
    signed,
)
from headwise.report.part import Chart, Part, Passage
from headwise.report.style import BAND, COLOURS, GREY, ROW
from headwise.report.view import NAME, NUMBER, view
from headwise.study.study import Study
from headwise.tables.frame import records

LOWEST_ROW, TALLEST = 8, 320  # pixels: of a row, and of all rows as far as that allows
SHOWN = {Quantity.EFFECT: "arm − placebo", Quantity.ARM: "arm − base", Quantity.PLACEBO: "placebo − base"}
WORDS = {**SHOWN, Quantity.LARGER: "size of the arm's change − size of the placebo's"}


def _primary(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    return rows[is_primary(rows, study.comparison.primary)]


def by_arm(rows: pd.DataFrame) -> Iterator[tuple[str, int, pd.DataFrame]]:
    """Method, dose and rows of each arm."""
    for _, own in rows.groupby(["method", "dose"], sort=False):
        yield str(own["method"].iloc[0]), int(own["dose"].iloc[0]), own


def base_label(row: Mapping[str, Any]) -> str:
    """The base of a row, or the two that are compared."""
    return plain(row["group"]) if row["reference"] is None else f"{plain(row['group'])} − {plain(row['reference'])}"


def effect_chart(study: Study, tables: Tables) -> Any:
    """Mean and interval of arm, placebo and their difference per base, with a point per refit."""
    means = _primary(study, tables[EffectRow.table])
    means = means[means["quantity"].isin(list(SHOWN)) & means["reference"].isna()]
    refits = _primary(study, tables[RefitEffect.table])
    if means.empty:
        return None
    points = pd.concat(
        refits.assign(quantity=SHOWN[quantity], value=refits[column], group=refits["base"])
        for quantity, column in COLUMNS.items()
    )
    if means["group"].eq(ALL).any():
        points = pd.concat([points, points.assign(group=ALL)])
    margin = study.comparison.equivalence_margin
    panels = []
    for method, dose, own in by_arm(means):
        mine = points[points["method"].eq(method) & points["dose"].eq(dose)]
        bases = list(dict.fromkeys(own["group"]))
        y = alt.Y("base:N", sort=[plain(base) for base in bases], title=None)
        offset = alt.YOffset("quantity:N", sort=list(SHOWN.values()))
        colour = alt.Color(
            "quantity:N",
            title=None,
            scale=alt.Scale(domain=list(SHOWN.values()), range=[COLOURS[0], COLOURS[1], GREY]),
        )
        lines = own.assign(base=own["group"].map(plain), quantity=own["quantity"].map(dict(SHOWN)))
        fields = ["base", "quantity", "estimate", "ci_low", "ci_high"]
        step = max(LOWEST_ROW, min(ROW, TALLEST // len(lines)))
        chart = alt.Chart(lines[fields], width=420, height=alt.Step(step))
        intervals = chart.mark_rule(strokeWidth=2).encode(
            y=y, yOffset=offset, color=colour, x=alt.X("ci_low:Q", title="Change of the estimator"), x2="ci_high:Q"
        )
        bars = chart.mark_point(filled=True, shape="diamond", size=70).encode(
            y=y,
            yOffset=offset,
            color=colour,
            x="estimate:Q",
            tooltip=tooltip(Base="base:N", What="quantity:N", Mean="estimate:Q", From="ci_low:Q", to="ci_high:Q"),
        )
        single = mine.assign(base=mine["group"].map(plain))[["base", "quantity", "seed", "value"]]
        dots = (
            alt.Chart(single)
            .mark_circle(size=14, opacity=1)
            .encode(
                y=y,
                yOffset=offset,
                color=colour,
                x="value:Q",
                tooltip=tooltip(Base="base:N", Refit="seed:O", Value="value:Q"),
            )
        )
        band = alt.Chart(pd.DataFrame({"low": [-margin], "high": [margin]}))
        shade = band.mark_rect(color=BAND, opacity=1).encode(x="low:Q", x2="high:Q")
        title = arm_label(method, dose)
        panels.append(alt.layer(shade, vertical(0), dots, intervals, bars).properties(title=title))
    return panels


def _unasked(study: Study, tables: Tables) -> Any:
    """The chart of the arms that no question is about: the others have a figure each."""
    asked = {(each.method, each.dose) for each in questions_of(study) if each.ask == Ask.EFFECT}
    rows = tables[EffectRow.table]
    asked_rows = [(method, dose) in asked for method, dose in zip(rows["method"], rows["dose"], strict=True)]
    left = rows[~np.array(asked_rows, dtype=bool)]
    return effect_chart(study, {**tables, EffectRow.table: left})


def effects_caption(study: Study) -> str:
    """How to read the chart."""
    return (
        f"{estimator_title(study.comparison.primary)}, all keys kept. Small points: refits. Diamond and line: mean "
        f"and {100 * (1 - study.comparison.level):g} % interval over refits (Student’s t). Grey band: "
        f"±{study.comparison.equivalence_margin:g}, the margin of equivalence."
    )


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """Per arm: the mean effect over all refits, beside what the placebo alone does."""
    rows = _primary(study, tables[EffectRow.table])
    rows = rows[rows["reference"].isna()]
    for method, dose, own in by_arm(rows):
        group = ALL if own["group"].eq(ALL).any() else own["group"].iloc[0]
        mean = {row["quantity"]: row for row in records(own[own["group"] == group])}
        effect, placebo = mean[Quantity.EFFECT], mean[Quantity.PLACEBO]
        label = arm_label(method, dose)
        yield described(
            effect["reason"] or "exploratory: the declared question has a test of its own",
            id=f"effect:{method}:{dose}",
            topic="method",
            headline=False,
            sentence=(
                f"{label} changes the {estimator_label(study.comparison.primary)} by {signed(effect['estimate'])} "
                "beyond its placebo."
            ),
            numbers=(
                f"the placebo alone changes it by {signed(placebo['estimate'])} "
                f"({interval(placebo['ci_low'], placebo['ci_high'])})"
            ),
            estimate=effect["estimate"],
            interval=None if effect["ci_low"] is None else (effect["ci_low"], effect["ci_high"]),
            n=effect["n"],
            unit="refit",
        )


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """All means of the primary estimator."""
    rows = _primary(study, tables[EffectRow.table])
    if rows.empty:
        return
    shown = view(
        rows,
        [
            ("Arm", lambda row: arm_label(row["method"], row["dose"]), NAME),
            ("What", lambda row: WORDS[Quantity(row["quantity"])], NAME),
            ("Base", base_label, NAME),
            ("Mean", lambda row: signed(row["estimate"]), NUMBER),
            ("Interval", lambda row: interval(row["ci_low"], row["ci_high"]), NUMBER),
            ("Deviation", lambda row: number(row["deviation"], 4), NUMBER),
            ("Refits", lambda row: str(row["n"]), NUMBER),
            ("p", lambda row: p_value(row["p"]), NUMBER),
            ("Smallest p", lambda row: p_value(row["p_attainable"]), NUMBER),
            ("Adjusted p", lambda row: p_value(row["p_adjusted"]), NUMBER),
        ],
    )
    yield Passage(
        "Arms against their placebos",
        (
            "A placebo has the steps, the rate and the text of its arm without what the arm teaches: preferences "
            "decided by a coin, or plain text. What alignment does is the arm less its placebo, refit by refit. The "
            "unit is the refit; these tests are exploratory.",
        ),
        [(shown, f"Change of the {estimator_label(study.comparison.primary)}, all keys kept")],
    )


PART = Part(
    name="effects",
    title="What alignment does beyond its placebo",
    tables=ROWS,
    charts=lambda study: [
        Chart(
            "effects",
            _unasked,
            "Arms of alignment, and their placebos",
            effects_caption(study),
        )
    ],
    findings=findings,
    passages=passages,
)
