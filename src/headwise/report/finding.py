"""One finding: a sentence of at most MOST_WORDS words, and the numbers that it rests on."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from headwise.report.labels import amount, missing
from headwise.report.rows import IS_OUT_OF_BAND, NEVER_DECIDED, Answer, Verdict
from headwise.report.verdicts import CONFIRMATORY, in_words, verdict_and_why

MOST_WORDS = 25
# What the test behind a finding says of it.
ANSWERS = {
    Verdict.BELOW: Answer.YES,
    Verdict.ABOVE: Answer.YES,
    Verdict.BELOW_WITHIN: Answer.YES,
    Verdict.ABOVE_WITHIN: Answer.YES,
    Verdict.PRESERVED: Answer.EQUIVALENT,
    Verdict.UNDECIDED: Answer.UNDECIDED,
    Verdict.NO_DIRECTION: Answer.UNDECIDED,
    Verdict.UNDECIDABLE: Answer.UNDECIDED,
    Verdict.UNDECIDABLE_ADJUSTED: Answer.UNDECIDED,
}


class Finding(BaseModel):
    """A sentence about a study with its numbers; where one is null, `reason` says why."""

    # What has a default is written all the same: the schema promises it.
    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)

    id: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", description="Stable name within the study")
    topic: str = Field(
        description="question, alignment, method, architecture, interaction, model, training or check: what it is about"
    )
    about: tuple[str, ...] = Field((), description="Names of the models that it is about; empty: all of the study")
    headline: bool = Field(description="Whether it belongs to the first screen of the report")
    part: str = Field("", description="Part of the report that it belongs to")
    answer: Answer | None = Field(None, description="What its test says; null: no test stands behind it")
    sentence: str = Field(description="The finding in words")
    numbers: str = Field("", description="Its numbers in words, with what chance or a placebo gives")
    remark: str | None = Field(None, description="What must be known of the models that it is about")
    estimate: float | None = Field(description="Null where the sentence is a count")
    interval: tuple[float, float] | None = Field(description="Confidence interval of the estimate")
    p: float | None = Field(description="Two-sided p before adjustment")
    p_adjusted: float | None = Field(description="p adjusted for the number of tests")
    p_attainable: float | None = Field(description="The smallest p that the design can give")
    n: int = Field(ge=0, description="Number of units")
    unit: str = Field(description="What is counted")
    confirmatory: bool = Field(description="Whether it was declared before anything was computed")
    reason: str | None = Field(description="Why a number is null, or what to read with care")
    out_of_band: bool | None = Field(description=IS_OUT_OF_BAND)


def tested(row: Mapping[str, Any], **words: Any) -> Finding:
    """A finding that rests on one row of the comparisons or contrasts."""
    complete = not missing(row["ci_low"]) and not missing(row["ci_high"])
    numbers = {name: row[name] for name in ("estimate", "p", "p_adjusted", "p_attainable", "n", "unit")}
    return Finding(
        **words,
        **numbers,
        answer=ANSWERS.get(Verdict(row["verdict"])),
        interval=(row["ci_low"], row["ci_high"]) if complete else None,
        confirmatory=row["role"] == CONFIRMATORY,
        reason=row["reason"],
        out_of_band=row.get("out_of_band"),
    )


def described(reason: str, confirmatory: bool = False, **words: Any) -> Finding:
    """A finding that is a count or a description, and no test."""
    numbers = dict.fromkeys(("estimate", "interval", "p", "p_adjusted", "p_attainable", "out_of_band"))
    return Finding(**{**numbers, "reason": reason, "confirmatory": confirmatory, **words})


def units(row: Mapping[str, Any]) -> str:
    """How many units a test has, in words: "4 families", "3 + 3 refits"."""
    plural = {"family": "families"}.get(row["unit"], f"{row['unit']}s")
    if missing(row.get("n_reference")):
        return amount(row["n"], row["unit"], plural)
    return f"{row['n']} + {row['n_reference']} {plural}"


def said(row: Mapping[str, Any]) -> str:
    """A row's verdict for the end of a sentence, with the number of units that makes it undecidable."""
    verdict, why = verdict_and_why(row)
    return f"{verdict} (with {units(row)} {why})" if row["verdict"] in NEVER_DECIDED else in_words(row)
