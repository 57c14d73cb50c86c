"""What tests say of placebos, in the report."""

from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt

from headwise.analyses.placebos.rows import Against, PlaceboRow
from headwise.report.columns import Tables
from headwise.report.finding import Finding, described
from headwise.report.labels import arm_label, estimator_label, number, plain, signed
from headwise.report.part import Chart, Part, Passage
from headwise.report.style import COLOURS, DASHES, GREY, ROW
from headwise.report.view import NAME, NUMBER, view
from headwise.study.study import Study
from headwise.tables.frame import records

WORDS = {
    Against.PLACEBO: "placebo − placebo, over refits",
    Against.BASE: "placebo − base, within a refit",
}


def share(row: Mapping[str, Any]) -> float | None:
    """The share of tests that reject; None where none could be made."""
    return None if row["rejected"] is None else row["rejected"] / row["tests"]


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """How often each test rejects where there is nothing to find."""
    rows = tables[PlaceboRow.table]
    for _, own in rows[rows["deviations"].eq(0)].groupby(["base", "method", "dose"], sort=False):
        base, method, dose = str(own["base"].iloc[0]), str(own["method"].iloc[0]), int(own["dose"].iloc[0])
        counts = {Against(row["against"]): row for row in records(own)}
        refits, prompts = counts[Against.PLACEBO], counts.get(Against.BASE)
        sentence = (
            f"Placebos of {arm_label(method, dose)} of {plain(base)} against each other: {refits['rejected']} of "
            f"{refits['tests']} tests reject, where a share of {number(refits['promised'], 3)} may."
        )
        numbers = f"each over {refits['units']} refits"
        if prompts is not None:
            numbers += (
                f"; within single refits, {prompts['rejected']} of {prompts['tests']} tests of a placebo against its "
                "base reject: they say that weights changed, whatever these were taught"
            )
        yield described(
            "pairs of placebos share placebos: their rejections scatter more than those of independent tests",
            id=f"placebos:{base}:{method}:{dose}",
            topic="check",
            headline=False,
            sentence=sentence,
            numbers=numbers,
            n=refits["tests"],
            unit="test",
        )


def power_chart(study: Study, tables: Tables) -> Any:
    """Share of tests that reject against the effect that was put in, per test."""
    rows = tables[PlaceboRow.table]
    rows = rows[rows["rejected"].notna()]
    if rows.empty:
        return None
    shown = rows.assign(
        share=rows["rejected"] / rows["tests"], what=[WORDS[Against(each)] for each in rows["against"]]
    )[["what", "base", "injected", "share"]]
    colour = alt.Color("what:N", title=None, scale=alt.Scale(domain=list(WORDS.values()), range=COLOURS[:2]))
    bases = list(dict.fromkeys(shown["base"]))
    dashes = alt.Scale(domain=bases, range=[DASHES[place % len(DASHES)] for place in range(len(bases))])
    lines = (
        alt.Chart(shown, width=420, height=8 * ROW)
        .mark_line(point=True)
        .encode(
            x=alt.X("injected:Q", title="Effect put in (units of the estimator)"),
            y=alt.Y("share:Q", title="Share of tests that reject", scale=alt.Scale(domain=[0, 1])),
            color=colour,
            strokeDash=alt.StrokeDash("base:N", title="Base", scale=dashes),
        )
    )
    level = alt.Chart().mark_rule(color=GREY).encode(y=alt.datum(study.comparison.level))
    return alt.layer(level, lines, data=shown)


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """Counts of rejections, with nothing and with an effect put in."""
    rows = tables[PlaceboRow.table]
    if rows.empty:
        return
    table = view(
        rows,
        [
            ("Base", lambda row: plain(row["base"]), NAME),
            ("What", lambda row: WORDS[Against(row["against"])], NAME),
            ("Put in", lambda row: signed(row["injected"]), NUMBER),
            ("Deviations", lambda row: number(row["deviations"], 1), NUMBER),
            (
                "Rejected",
                lambda row: "–" if row["rejected"] is None else f"{row['rejected']} of {row['tests']}",
                NUMBER,
            ),
            ("Share", lambda row: number(share(row), 2), NUMBER),
            ("At most", lambda row: number(row["promised"], 3), NUMBER),
        ],
    )
    yield Passage(
        "What tests find where there is nothing to find",
        (
            "Placebos of one arm differ by a coin alone. A test of their difference over refits may reject as often as "
            "its level says; a test within a refit asks whether these two sets of weights differ, and they do. An "
            "effect that is added to every difference shows the power of both, for the "
            f"{estimator_label(study.comparison.primary)}.",
        ),
        [(table, "Tests that reject, with nothing and with an effect put in")],
    )


PART = Part(
    name="placebos",
    title="Placebos against placebos",
    tables=(PlaceboRow,),
    charts=lambda study: [
        Chart(
            "placebo_tests",
            power_chart,
            "How often tests reject for placebos, by the effect that was put in",
            "Share of tests that reject at the declared level (grey line). At 0 there is nothing to find.",
        )
    ],
    findings=findings,
    passages=passages,
)
