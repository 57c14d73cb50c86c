"""What comparing refits showed, in sentences computed from the tables of stability."""

from collections.abc import Iterator
from typing import Any

from headwise.analyses.stability.names import Analysis, Measure, Version, Weights
from headwise.report.columns import Tables
from headwise.report.finding import Finding
from headwise.report.labels import ends, missing, number, plain, titled
from headwise.study.study import Study
from headwise.tables.frame import records

TOPIC, UNIT = "model", "refit"


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """How far the heads of each group as a whole are above chance."""
    rows = tables["stability"]
    whole = (
        rows["layer"].isna()
        & rows["words"].isna()
        & rows["version"].eq(Version.CORRECTED)
        & rows["weights"].eq(Weights.TRAINED)
    )
    chosen = rows[whole & rows["analysis"].eq(Analysis.HEAD_STABILITY) & rows["measure"].eq(Measure.COSINE)]
    for row in records(chosen):
        if missing(row["value"]):
            continue
        corrected = ""
        if not missing(row["chance_corrected"]):
            span = ends(row["corrected_low"], row["corrected_high"], 3)
            corrected = (
                f"{number(row['chance_corrected'], 3)} ({span}) of what chance leaves, where a head that looks at "
                "fixed positions whatever it reads counts as chance"
            )
            names = {"value": "chance_corrected", "ci_low": "corrected_low", "ci_high": "corrected_high"}
            row = row | {"matched": row["value"]} | {name: row[source] for name, source in names.items()}
        yield refit_finding(
            row,
            id=f"stability:{row['group']}",
            about=(row["group"],),
            headline=True,
            sentence=(
                f"{titled(plain(row['group']))}: matched heads of two refits have a cosine of "
                f"{number(row.get('matched', row['value']), 3)}, mean over layers; on different prompts they have "
                f"{number(row['chance'], 3)}."
            ),
            numbers=corrected,
        )


def refit_finding(row: dict[str, Any], **words: Any) -> Finding:
    """A finding about refits, with the numbers of a row."""
    complete = not missing(row["ci_low"]) and not missing(row["ci_high"])
    return Finding(
        **words,
        topic=TOPIC,
        estimate=None if missing(row["value"]) else row["value"],
        interval=(row["ci_low"], row["ci_high"]) if complete else None,
        p=None,
        p_adjusted=None,
        p_attainable=None,
        out_of_band=None,
        n=0 if missing(row["n"]) else row["n"],
        unit=UNIT,
        confirmatory=False,
        reason=None if missing(row["reason"]) else row["reason"],
    )
