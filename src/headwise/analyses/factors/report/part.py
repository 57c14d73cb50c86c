"""Factors in the report: what goes with more or less specialization, and whether their order is more than chance."""

from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt
import pandas as pd

from headwise.analyses.factors.analyse import claimed_order
from headwise.analyses.factors.rows import Design, FactorRow, Outcome, Quantity
from headwise.report.chart_parts import panels_by
from headwise.report.columns import Tables
from headwise.report.finding import Finding, described
from headwise.report.labels import amount, estimator_label, interval, marked_p, missing, number, plain, signed
from headwise.report.part import Chart, Part, Passage
from headwise.report.style import COLOURS, GREY, ROW
from headwise.report.view import NAME, NUMBER, TEXT, view
from headwise.study.study import Study
from headwise.tables.frame import records

# What each outcome is called in a sentence.
NAMES = {
    Outcome.EFFECT: "effect of alignment (arm − placebo)",
    Outcome.CHANGE: "change from base to aligned",
    Outcome.LEVEL: "level",
}
WHOSE = {
    Outcome.EFFECT: "Effects of alignment",
    Outcome.CHANGE: "Changes under alignment",
    Outcome.LEVEL: "How specialized models are",
}
CAVEATS = {Outcome.LEVEL: "; these go with how specialized models are, not with what alignment does"}


def primary(study: Study, tables: Tables, quantity: Quantity) -> pd.DataFrame:
    """Rows of one quantity, of the primary estimator."""
    rows = tables["factors"]
    return rows[rows["estimator"].eq(study.comparison.primary) & rows["quantity"].eq(quantity)]


def factor_findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """Shares by factor of the change that alignment makes, and of levels; whether their order can be told from
    chance."""
    all_shares = primary(study, tables, Quantity.SHARE).sort_values("estimate", ascending=False, kind="stable")
    for row in records(primary(study, tables, Quantity.ORDER)):
        outcome = Outcome(row["outcome"])
        shares = records(all_shares[all_shares["outcome"].eq(outcome)])
        listed = ", ".join(
            f"{plain(each['factor'])} {number(each['estimate'], 2)} ({number(each['ci_low'], 2)} to "
            f"{number(each['ci_high'], 2)}; {number(each['by_chance'], 2)} by chance)"
            for each in shares
        )
        order = order_sentence(row, [each["factor"] for each in shares])
        yield described(
            f"exploratory, {row['design']}",
            id="factors" if outcome != Outcome.LEVEL else "factors_level",
            topic="architecture",
            headline=len(shares) > 1 and outcome != Outcome.LEVEL,
            sentence=f"{WHOSE[outcome]}: most variance goes with {plain(shares[0]['factor'])}. {order}.",
            numbers=(
                f"shares of the variance of the {NAMES[outcome]} of the {estimator_label(row['estimator'])} over "
                f"{units(row['n'], outcome)} (each refit counts, {row['design']}): {listed}{CAVEATS.get(outcome, '')}"
            ),
            n=row["n"],
            unit="model" if outcome == Outcome.LEVEL else "pair of models",
        )


def units(count: int, outcome: Outcome) -> str:
    """How many values were decomposed, in words."""
    return amount(count, "model") if outcome == Outcome.LEVEL else amount(count, "pair") + " of models"


def order_sentence(row: Mapping[str, Any], factors: list[str]) -> str:
    """Whether the order of shares can be told from chance; only of one that can, whether it is the claimed one."""
    if not row["distinguishable"]:
        return "The order cannot be told from chance"
    claimed = claimed_order(factors)
    same = "is" if row["claimed"] else "is not"
    order = " > ".join(claimed)
    return f"The order can be told from chance; among {', '.join(claimed)} it {same} the claimed one ({order})"


def share_chart(study: Study, tables: Tables, levels: bool = False) -> Any:
    """Shares of the variance of changes, or of levels, with their intervals, beside those by chance; a panel per
    estimator."""
    rows = tables["factors"]
    rows = rows[rows["quantity"].eq(Quantity.SHARE) & rows["estimate"].notna()]
    rows = rows[rows["outcome"].eq(Outcome.LEVEL) == levels]
    if rows.empty:
        return None
    rows = rows.assign(label=[estimator_label(name) for name in rows["estimator"]])
    points = rows[["label", "factor", "estimate", "ci_low", "ci_high", "by_chance"]]
    y = alt.Y("factor:N", sort=list(dict.fromkeys(points["factor"])), title=None)
    x = alt.X("ci_low:Q", title="Share of variance", scale=alt.Scale(domain=[0, 1]))

    def panel(own: pd.DataFrame) -> Any:
        base = alt.Chart(own, width=190, height=alt.Step(ROW)).encode(y=y)
        ranges = base.mark_rule(color=COLOURS[0]).encode(x=x, x2="ci_high:Q")
        shares = base.mark_point(filled=True, size=50, color=COLOURS[0]).encode(x="estimate:Q")
        chance = base.mark_tick(color=GREY, thickness=2, size=ROW - 6).encode(x="by_chance:Q")
        return alt.layer(ranges, chance, shares)

    return panels_by(points, "label", panel)


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """Effects and shares of the primary estimator."""
    effects, shares = primary(study, tables, Quantity.EFFECT), primary(study, tables, Quantity.SHARE)
    if shares.empty:
        return
    coverage = f"{100 * (1 - study.comparison.level):g} % interval"
    effect_view = view(
        effects,
        [
            ("Of", lambda row: NAMES[Outcome(row["outcome"])], NAME),
            ("Factor", lambda row: plain(row["factor"]), NAME),
            ("Level", lambda row: row["level"], NAME),
            ("Against", lambda row: "–" if missing(row["reference_level"]) else row["reference_level"], NAME),
            ("Effect", lambda row: signed(row["estimate"]), NUMBER),
            (coverage, lambda row: interval(row["ci_low"], row["ci_high"]), NUMBER),
            ("p of the factor", marked_p, NUMBER),
            ("Remark", lambda row: row["reason"] or "", TEXT),
        ],
    )
    share_view = view(
        shares,
        [
            ("Of", lambda row: NAMES[Outcome(row["outcome"])], NAME),
            ("Factor", lambda row: plain(row["factor"]), NAME),
            ("Share", lambda row: number(row["estimate"]), NUMBER),
            (coverage, lambda row: f"{number(row['ci_low'])} to {number(row['ci_high'])}", NUMBER),
            ("By chance", lambda row: number(row["by_chance"]), NUMBER),
            ("p", marked_p, NUMBER),
            ("Remark", lambda row: row["reason"] or "", TEXT),
        ],
    )
    design = str(shares["design"].iloc[0])
    meaning = (
        "All models were made by this study, which switched the factors: effects are causal for its recipe."
        if design == Design.BY_DESIGN
        else "Some models were made by others: whatever goes with a factor is in its effect, which is descriptive."
    )
    yield Passage(
        "What goes with specialization, and with its change",
        (
            f"{meaning} The published order of factors is about what alignment changes, not about how specialized "
            "models are; both are decomposed, and each row says which. Effects are least squares given all other "
            "factors. Shares of variance are Shapley's: the mean, over all orders of adding the factors, of what each "
            "adds. A factor without any effect has a share too, "
            "which stands beside it as the one by chance.",
        ),
        [(effect_view, "Effect of each level"), (share_view, "Share of the variance of each factor")],
    )


CAPTION = "Intervals over refits of bases. Grey tick: the mean share when values are shuffled. A panel per estimator."
PART = Part(
    name="factors",
    title="Factors",
    tables=(FactorRow,),
    charts=lambda study: [
        Chart(
            "factors",
            share_chart,
            "How much of the variance of what alignment changes goes with which factor",
            f"Shapley shares of the variance of changes. {CAPTION}",
        ),
        Chart(
            "factors_level",
            lambda study, tables: share_chart(study, tables, levels=True),
            "How much of the variance of how specialized models are goes with which factor",
            f"Shapley shares of the variance of levels over models and refits. {CAPTION}",
        ),
    ],
    findings=factor_findings,
    passages=passages,
)
