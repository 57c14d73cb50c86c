"""Calibration in the report: does every test reject as rarely as it promises, does every interval cover?"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import altair as alt
import pandas as pd

from headwise.analyses.calibration.rates import Kept, Promise, Quantity, Rate
from headwise.analyses.calibration.report.marks import OF_TABLE, marked
from headwise.report.columns import Tables
from headwise.report.finding import Finding, described
from headwise.report.labels import DAGGER, amount, share
from headwise.report.part import Chart, Light, Part, Passage
from headwise.report.style import COLOURS, GREY, ROW
from headwise.report.view import NAME, NUMBER, TEXT, View, view
from headwise.study.study import Study
from headwise.tables.frame import records

rate = partial(share, digits=1)
KEPT = {
    Kept.YES: "keeps its promise",
    Kept.NO: "does not keep its promise",
    Kept.NO_PROMISE: "promises nothing here",
}


def calibration_findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """How many procedures keep what they promise, and which do not."""
    rows = tables["calibration"]
    promised = rows[rows["kept"] != Kept.NO_PROMISE]
    if promised.empty:
        return
    broken = promised[promised["kept"] == Kept.NO]
    named = "; ".join(f"{row['procedure']} ({row['scenario']}): {rate(row['found'])}" for row in records(broken))
    yield described(
        "a count of simulations",
        id="check:calibration",
        topic="check",
        headline=not broken.empty,
        sentence=(
            f"{len(promised) - len(broken)} of {amount(len(promised), 'rate')} of false rejections and coverage lie in "
            "their binomial band."
        ),
        numbers=(
            f"over {int(rows['simulations'].max()):,} simulated data sets of this study's shape"
            f"{f'; outside: {named}; p-values of such a test are marked {DAGGER}' if named else ''}"
        ),
        n=len(promised),
        unit="rate",
    )
    broken_assumption = rows[
        rows["quantity"].eq(Quantity.REJECTION) & rows["kept"].eq(Kept.NO_PROMISE) & rows["reason"].notna()
    ]
    for row in records(broken_assumption):
        yield described(
            row["reason"],
            id=f"check:calibration:{row['scenario'].replace(' ', '-')}",
            topic="check",
            headline=False,
            sentence=(
                f"{row['procedure'].capitalize()}, with {row['scenario']}: {rate(row['found'])} false rejections at a "
                f"level of {rate(row['expected'])}."
            ),
            numbers="where the p of whole domains disagrees, it is the one to trust",
            n=row["simulations"],
            unit="simulation",
        )


def light(tables: Tables) -> Light | None:
    """Whether tests and intervals keep what they promise."""
    rows = tables["calibration"]
    broken = int(rows["kept"].eq(Kept.NO).sum())
    if rows.empty:
        return None
    return Light(not broken, f"{amount(broken, 'rate')} out of band" if broken else "tests calibrated")


def calibration_chart(study: Study, tables: Tables) -> Any:
    """Found rates of rejection and coverage with their bands, a row per procedure and scenario."""
    rows = tables["calibration"]
    rows = rows[rows["quantity"].isin([Quantity.REJECTION, Quantity.COVERAGE]) & rows["found"].notna()]
    if rows.empty:
        return None
    rows = rows.assign(
        label=rows["procedure"] + ", " + rows["scenario"],
        kept=rows["kept"].map(KEPT),
        panel=rows["quantity"].map({Quantity.REJECTION: "False rejections", Quantity.COVERAGE: "Coverage"}),
    )
    panels = []
    colour = alt.Color(
        "kept:N",
        scale=alt.Scale(domain=list(KEPT.values()), range=[COLOURS[0], COLOURS[1], GREY]),
        legend=alt.Legend(title=None, orient="top"),
    )
    for name in dict.fromkeys(rows["panel"]):
        own = rows[rows["panel"] == name]
        points = own[["label", "kept", "found", "expected", "band_low", "band_high", "units", "simulations"]]
        base = alt.Chart(points, width=300, height=alt.Step(ROW), title=name)
        axis = alt.Axis(format=".0%", tickCount=5)
        y = alt.Y("label:N", sort=list(dict.fromkeys(points["label"])), title=None)
        x = alt.X("band_low:Q", title="Share of simulated data sets", axis=axis, scale=alt.Scale(zero=False))
        band = base.mark_rule(strokeWidth=6, color="#D9D9D9").encode(y=y, x=x, x2="band_high:Q")
        expected = base.mark_tick(color=GREY, thickness=2, size=ROW - 6).encode(y=y, x="expected:Q")
        found = base.mark_point(filled=True, size=50).encode(
            y=y,
            x="found:Q",
            color=colour,
            tooltip=[
                alt.Tooltip("found:Q", title="Found", format=".3f"),
                alt.Tooltip("expected:Q", title="Promised", format=".3f"),
                alt.Tooltip("units:N", title="Units"),
                alt.Tooltip("simulations:Q", title="Simulations"),
            ],
        )
        panels.append(alt.layer(band, expected, found))
    return panels


def promised(row: Mapping[str, Any]) -> str:
    """What a procedure promises of a rate."""
    expected = rate(row["expected"])
    return expected if row["promise"] == Promise.NONE else f"{row['promise']} {expected}"


def power_view(rows: pd.DataFrame) -> View:
    """Power, a row per procedure and scenario, a column per effect."""
    power = rows[rows["quantity"] == Quantity.POWER]
    effects = sorted(power["effect"].unique())
    wide = power.pivot_table(
        index=["procedure", "scenario", "units"], columns="effect", values="found", sort=False, dropna=False
    )
    wide = wide[wide.notna().any(axis=1) | ~wide.index.duplicated()].reset_index()
    reasons = power.groupby("procedure", sort=False)["reason"].first()
    wide["reason"] = [reasons.get(name) for name in wide["procedure"]]
    return view(
        wide,
        [
            ("Procedure", lambda row: row["procedure"], NAME),
            ("Scenario", lambda row: row["scenario"], TEXT),
            ("Units", lambda row: row["units"], TEXT),
            *((f"{effect:g}", lambda row, effect=effect: rate(row[str(effect)]), NUMBER) for effect in effects),
            ("Remark", lambda row: row["reason"] or "", TEXT),
        ],
    )


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """What was simulated, the rates, and the power of the design."""
    rows = tables["calibration"]
    if rows.empty:
        return
    rates = view(
        rows[rows["quantity"] != Quantity.POWER],
        [
            ("Procedure", lambda row: row["procedure"], NAME),
            ("Quantity", lambda row: row["quantity"], NAME),
            ("Scenario", lambda row: row["scenario"], TEXT),
            ("Units", lambda row: row["units"], TEXT),
            ("Promised", promised, NUMBER),
            ("Found", lambda row: rate(row["found"]), NUMBER),
            ("Band", lambda row: f"{rate(row['band_low'])} to {rate(row['band_high'])}", NUMBER),
            ("Verdict", lambda row: KEPT[row["kept"]], TEXT),
            ("Remark", lambda row: row["reason"] or "", TEXT),
        ],
    )
    yield Passage(
        "False rejections and coverage",
        (
            "Data sets of this study's shape in which nothing is to be found were simulated and given to the very "
            f"functions that computed the tests and intervals above, at a level of {study.comparison.level:g}. The "
            "band is the exact binomial one: a procedure that keeps its promise leaves it once in a thousand times. An "
            "exact test of few units can promise less than the level only. Where a scenario breaks an assumption of "
            "the procedure, no promise is made, and the rate says what it costs.",
        ),
        [(rates, "Rates found in simulations")],
    )
    power = rows[rows["quantity"] == Quantity.POWER]
    if not power.empty:
        yield Passage(
            "Power",
            ("How often an effect of a given size would be found, before adjustment for the number of tests.",),
            [(power_view(rows), "Power by effect, in standard deviations of a unit's difference")],
        )


def marked_tests(tables: Tables) -> dict[str, pd.DataFrame]:
    """The tables of tests; those of a procedure that does not keep its promise say so."""
    calibration = tables.get("calibration")
    if calibration is None:
        return {}
    return {name: marked(name, tables[name], calibration) for name in OF_TABLE if name in tables}


PART = Part(
    name="calibration",
    title="Calibration of the tests",
    tables=(Rate,),
    charts=lambda study: [
        Chart(
            "calibration",
            calibration_chart,
            "Do the tests and intervals keep what they promise?",
            "Share of simulated data sets without any effect in which a test rejects (top) and in which an interval "
            "covers the truth (bottom). Tick: the promised share. Grey bar: the binomial band around it.",
        )
    ],
    findings=calibration_findings,
    light=light,
    passages=passages,
    completed=marked_tests,
)
