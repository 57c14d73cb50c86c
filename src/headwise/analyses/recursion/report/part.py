"""Recursive generation in the report: how long the chains of each arm last, and against those of the first arm."""

from collections.abc import Iterator

from headwise.analyses.recursion.report.charts import charts
from headwise.analyses.recursion.rows import TABLES, RecursionDuration
from headwise.report.columns import Tables
from headwise.report.finding import Finding, described
from headwise.report.labels import amount, ends, marked_p, missing, number, p_value, plain, signed
from headwise.report.part import Part, Passage
from headwise.report.view import NAME, NUMBER, view
from headwise.study.study import Study
from headwise.tables.frame import records


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """How long each arm lasts, and against the first."""
    rows = tables[RecursionDuration.table]
    for row in records(rows[rows["seed"].isna()]):
        against = ""
        if not missing(row["difference"]):
            against = f"{signed(row['difference'], 2)} against {plain(row['reference'])}"
        ended = f"{amount(row['ended_chains'], 'chain')} ended before" if row["ended_chains"] else ""
        mean = "undefined" if missing(row["mean_generations"]) else number(row["mean_generations"], 2)
        yield described(
            row["reason"] or "exploratory",
            id=f"recursion:{row['arm']}",
            topic="model",
            headline=False,
            sentence=(
                f"Fed back to itself, {plain(row['arm'])}: {row['degraded_chains']} of "
                f"{amount(row['chains'], 'chain')} degrade; mean generation of onset, restricted to {row['horizon']}: "
                f"{mean}."
            ),
            numbers="; ".join(filter(None, (ended, against))),
            estimate=row["mean_generations"],
            interval=None if missing(row["ci_low"]) else (row["ci_low"], row["ci_high"]),
            p=row["p"],
            p_attainable=row["p_attainable"],
            n=row["n"],
            unit=row["unit"],
        )


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """A row per arm, over its refits."""
    rows = tables[RecursionDuration.table]
    if rows.empty:
        return
    durations = view(
        rows[rows["seed"].isna()],
        [
            ("Arm", lambda row: plain(row["arm"]), NAME),
            ("Degraded chains", lambda row: f"{row['degraded_chains']} of {row['chains']}", NUMBER),
            ("Ended chains", lambda row: str(row["ended_chains"]), NUMBER),
            ("Mean onset", lambda row: number(row["mean_generations"], 2), NUMBER),
            ("Interval", lambda row: ends(row["ci_low"], row["ci_high"], 2), NUMBER),
            ("Against the first arm", lambda row: signed(row["difference"], 2), NUMBER),
            ("p", marked_p, NUMBER),
            ("Smallest p", lambda row: p_value(row["p_attainable"]), NUMBER),
        ],
    )
    yield Passage(
        "Recursive generation",
        ["What a model writes is what it reads next. Onset is the first of a run of degraded generations."],
        [(durations, "Generations until degradation began")],
    )


PART = Part(
    name="recursion",
    title="Robustness: recursive generation",
    tables=TABLES,
    charts=charts,
    findings=findings,
    passages=passages,
)
