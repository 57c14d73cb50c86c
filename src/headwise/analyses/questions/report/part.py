"""The questions that a study declares, with their answers, in the report."""

from collections.abc import Iterator, Mapping
from math import exp
from typing import Any

from headwise.analyses.questions.rows import Answer, AnswerRow, Claim, Estimand
from headwise.analyses.questions.settings import Ask
from headwise.report.columns import Tables
from headwise.report.finding import Finding, units
from headwise.report.labels import (
    amount,
    arm_labels,
    estimator_label,
    interval,
    marked_p,
    method_label,
    missing,
    number,
    p_value,
    plain,
    signed,
    titled,
)
from headwise.report.part import Part, Passage
from headwise.report.view import NAME, NUMBER, TEXT, view
from headwise.study.study import Study
from headwise.tables.frame import records

Row = Mapping[str, Any]
VERBS = {Claim.DIFFERS: "differ", Claim.RISES: "rise", Claim.FALLS: "fall"}


def question_words(study: Study, row: Row) -> str:
    """The question, as the study has it or from its fields."""
    if row["title"]:
        return str(row["title"])
    index = estimator_label(study.comparison.primary)
    claim = {Claim.DIFFERS: "change", Claim.RISES: "raise", Claim.FALLS: "lower"}[Claim(row["claim"])]
    group, reference = plain(row["group"] or ""), plain(row["reference"] or "")
    method = arm_labels(study).get(row["method"]) or method_label(row["method"])
    return {
        Ask.EFFECT: f"Does {method} {claim} the {index} beyond its placebo?",
        Ask.EFFECT_DIFFERENCE: f"Does {method} {claim} the {index} of {group} more than that of {reference}?",
        Ask.ARCHITECTURE: f"Does the {index} of {group} {VERBS[Claim(row['claim'])]} against {reference}?",
        Ask.CHANGE: f"Does the {index} {VERBS[Claim(row['claim'])]} under {method}, over families?",
        Ask.NOISE: f"Is {group} more or less sensitive to noise than {reference}?",
        Ask.SHARING: f"Does sharing keys and values make {group} more sensitive to noise in them?",
        Ask.AGREEMENT: f"Do refits of {group} agree above chance?",
    }[Ask(row["ask"])]


def found_words(row: Row) -> str:
    """The estimate with its interval, in the units that people read."""
    if missing(row["estimate"]):
        return "undefined"
    if row["estimand"] == Estimand.LOG_RATIO:
        middle = f"{number(exp(row['estimate']), 2)} times"
        return (
            middle
            if missing(row["ci_low"])
            else f"{middle} ({number(exp(row['ci_low']), 2)} to {number(exp(row['ci_high']), 2)})"
        )
    if row["estimand"] == Estimand.AGREEMENT:
        span = "" if missing(row["ci_low"]) else f" ({number(row['ci_low'], 2)} to {number(row['ci_high'], 2)})"
        return f"{number(row['estimate'], 2)}{span} of what chance leaves"
    span = "" if missing(row["ci_low"]) else f" ({interval(row['ci_low'], row['ci_high'])})"
    return f"{signed(row['estimate'])}{span}"


def answer_words(row: Row) -> str:
    """The answer, with the margin of an equivalence, or what an undecided question would need."""
    if row["answer"] == Answer.EQUIVALENT:
        return f"{row['answer']} (within ±{row['margin']:g})"
    if row["answer"] == Answer.UNDECIDED and not missing(row["units_needed"]):
        return f"{row['answer']} (about {row['units_needed']} {row['unit']}s would decide)"
    return str(row["answer"])


def beside_words(row: Row) -> str:
    """What is there without what is asked."""
    if missing(row["alone"]):
        return ""
    if row["estimand"] == Estimand.AGREEMENT:
        return f"chance {number(row['alone'], 2)}"
    return f"placebo alone {signed(row['alone'])}"


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """The answers, on the first screen."""
    for row in records(tables[AnswerRow.table]):
        beside = f"; {beside_words(row)}" if beside_words(row) else ""
        yield Finding(
            id=f"question:{row['question']}",
            topic="question",
            about=tuple(str(name) for name in (row["group"], row["reference"]) if not missing(name)),
            headline=True,
            sentence=(
                f"{question_words(study, row)} {titled(answer_words(row))}: {found_words(row)}{beside}; {units(row)}."
            ),
            estimate=row["estimate"],
            interval=None if missing(row["ci_low"]) else (row["ci_low"], row["ci_high"]),
            p=row["p"],
            p_adjusted=row["p_adjusted"],
            p_attainable=row["p_attainable"],
            n=row["n"],
            unit=row["unit"],
            confirmatory=bool(row["confirmatory"]),
            reason=row["reason"],
            out_of_band=row["out_of_band"],
        )


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """All answers with their numbers."""
    rows = tables[AnswerRow.table]
    if rows.empty:
        return
    size = int(rows["tests"].max())
    shown = view(
        rows,
        [
            ("Question", lambda row: question_words(study, row), TEXT),
            ("Answer", lambda row: titled(answer_words(row)), TEXT),
            ("Found", found_words, NUMBER),
            ("Without it", lambda row: beside_words(row) or "–", NUMBER),
            ("Units", units, NUMBER),
            ("p", marked_p, NUMBER),
            ("Smallest p", lambda row: p_value(row["p_attainable"]), NUMBER),
            ("Adjusted p", lambda row: p_value(row["p_adjusted"]), NUMBER),
            ("Declared", lambda row: "yes" if row["confirmatory"] else "no", NAME),
        ],
    )
    yield Passage(
        "Every declared question",
        (
            f"The study declares these questions before anything is measured. {amount(size, 'test')} among them "
            f"{'is' if size == 1 else 'are'} adjusted as one set by Holm’s method, at the level "
            f"{study.comparison.level:g}; a question without a p is answered by its interval over refits, since refits "
            "share what is compared. Yes: the test rejects and the whole interval lies on the claimed side of 0 (of 1, "
            "for a ratio). No: on the other side. Equivalent to nothing: two one-sided tests show it to be within the "
            "margin that the study file holds. Undecided: neither.",
        ),
        [(shown, "Questions and answers")],
    )


PART = Part(name="questions", title="Questions", tables=(AnswerRow,), findings=findings, passages=passages)
