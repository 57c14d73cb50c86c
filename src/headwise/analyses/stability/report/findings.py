"""What comparing refits showed, in sentences computed from the tables of stability."""

from collections.abc import Iterator
from typing import Any

from headwise.report.columns import Tables
from headwise.report.finding import Finding, described
from headwise.report.labels import amount, missing, number, plain, titled
from headwise.study.study import Study
from headwise.tables.frame import records

TOPIC, UNIT = "model", "refit"
AGREEING = {"supported"}


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """How far heads are above chance, what becomes of the published claims, and each of them."""
    claims = records(tables["stability_claims"])
    if not claims:
        return
    yield from _above_chance(tables)
    yield _tally(claims)
    for row in claims:
        yield _claim(row)


def _above_chance(tables: Tables) -> Iterator[Finding]:
    """One sentence per group about its heads as a whole."""
    rows = tables["stability"]
    whole = (
        rows["layer"].isna() & rows["words"].isna() & rows["version"].eq("corrected") & rows["weights"].eq("trained")
    )
    chosen = rows[whole & rows["analysis"].eq("head_stability") & rows["measure"].eq("cosine")]
    for row in records(chosen):
        if missing(row["value"]):
            continue
        corrected = (
            ""
            if missing(row["chance_corrected"])
            else f". That is {number(row['chance_corrected'], 3)} of what chance leaves"
        )
        yield _finding(
            row,
            id=f"stability:{row['group']}",
            headline=True,
            sentence=(
                f"{titled(plain(row['group']))}: matched heads of two refits have a cosine of "
                f"{number(row['value'], 3)}, mean over layers; on different prompts they have "
                f"{number(row['chance'], 3)}{corrected}."
            ),
        )


def _tally(claims: list[dict[str, Any]]) -> Finding:
    """How many readings of the claims hold as published, and of these under the corrected estimators."""
    as_published = {(row["claim"], row["group"]) for row in claims if _holds(row, "published")}
    corrected = {(row["claim"], row["group"]) for row in claims if _holds(row, "corrected")}
    return described(
        "a count, not a test",
        id="stability:claims",
        topic=TOPIC,
        headline=True,
        sentence=(
            f"Claims of Bali et al. (2026), group by group: {amount(len(as_published), 'reading')} of "
            f"{len({(row['claim'], row['group']) for row in claims})} hold with the published estimators, and of these "
            f"{len(as_published & corrected)} with all pairs of refits, one-to-one matching and an interval."
        ),
        n=len(claims),
        unit="reading",
    )


def _holds(row: dict[str, Any], version: str) -> bool:
    return row["version"] == version and row["verdict"] in AGREEING


def _claim(row: dict[str, Any]) -> Finding:
    published = "" if missing(row["published_value"]) else f" (published: {number(row['published_value'], 3)})"
    measured = "no number" if missing(row["value"]) else number(row["value"], 3)
    if not missing(row["ci_low"]):
        measured += f", interval {number(row['ci_low'], 3)} to {number(row['ci_high'], 3)}"
    return _finding(
        row,
        id=f"stability:{row['claim']}:{_safe(row['group'])}:{row['version']}",
        headline=False,
        sentence=(
            f"{row['statement']}, in {plain(row['group'])}, {row['version']} estimator: {row['verdict']}. "
            f"{row['number'][:1].upper()}{row['number'][1:]}: {measured}{published}."
        ),
    )


def _finding(row: dict[str, Any], **words: Any) -> Finding:
    complete = not missing(row["ci_low"]) and not missing(row["ci_high"])
    return Finding(
        **words,
        topic=TOPIC,
        estimate=None if missing(row["value"]) else row["value"],
        interval=(row["ci_low"], row["ci_high"]) if complete else None,
        p=None,
        p_adjusted=None,
        p_attainable=None,
        n=0 if missing(row["n"]) else row["n"],
        unit=UNIT,
        confirmatory=False,
        reason=None if missing(row["reason"]) else row["reason"],
    )


def _safe(name: str) -> str:
    """A group or contrast as part of an id."""
    return name.replace(" − ", "-minus-")
