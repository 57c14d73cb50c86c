"""The questions that a study declares, with their answers, in the report."""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

from headwise.analyses.questions.report.charts import charts, figure_names
from headwise.analyses.questions.report.words import (
    answer_sentence,
    answer_words,
    cells,
    how_to_read,
    numbers_words,
    question_words,
)
from headwise.analyses.questions.rows import AnswerRow
from headwise.analyses.questions.settings import Ask, questions_of
from headwise.report.columns import Tables
from headwise.report.finding import Finding
from headwise.report.labels import missing, titled
from headwise.report.part import Part, Section
from headwise.report.rows import Answer
from headwise.study.arms import arms
from headwise.study.study import Study
from headwise.tables.frame import records

# Part of the report that holds all rows behind an answer.
PARTS = {
    Ask.EFFECT: "effects",
    Ask.EFFECT_DIFFERENCE: "effects",
    Ask.ARCHITECTURE: "specialization",
    Ask.CHANGE: "specialization",
    Ask.NOISE: "noise",
    Ask.SHARING: "noise",
    Ask.AGREEMENT: "stability",
}


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """The answers, on the first screen."""
    for row in records(tables[AnswerRow.table]):
        yield Finding(
            id=f"question:{row['question']}",
            topic="question",
            about=_about(study, row),
            headline=True,
            answer=Answer(row["answer"]),
            sentence=answer_sentence(study, row),
            numbers=numbers_words(row),
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


def _about(study: Study, row: Mapping[str, Any]) -> tuple[str, ...]:
    """The models whose heads an answer speaks of."""
    named = tuple(str(name) for name in (row["group"], row["reference"]) if not missing(name))
    if row["ask"] not in (Ask.EFFECT, Ask.EFFECT_DIFFERENCE):
        return named
    chosen = [pair for pair in arms(study) if (pair[0].method, pair[0].dose) == (row["method"], row["dose"])]
    chosen = [pair for pair in chosen if not named or pair[0].base in named]
    return tuple(dict.fromkeys(name for arm, placebo in chosen for name in (arm.base, arm.name, placebo.name)))


def sections(study: Study, tables: Tables) -> Iterator[Section]:
    """A section per question, in the order of the study file."""
    for row in records(tables[AnswerRow.table]):
        yield Section(
            name=row["question"],
            title=question_words(study, row),
            answer=Answer(row["answer"]),
            said=titled(answer_words(row)),
            figures=figure_names(row["question"], row["ask"]),
            sentences=list(how_to_read(study, row)),
            numbers=cells(study, row),
            part=PARTS[Ask(row["ask"])],
        )


def advice(study: Study, tables: Tables) -> Iterator[str]:
    """How many refits would decide what is undecided. Refits that are added to a study because of its answer are no
    fresh test, hence the new name."""
    if not questions_of(study):
        yield "Declare `questions` in the study file, under a new `name`: each gets an answer here."
    needed = {
        row["question"]: seeds
        for row in records(tables[AnswerRow.table])
        if (seeds := seeds_needed(study, row["question"], row["units_needed"])) is not None
    }
    if needed:
        named = ", ".join(f"{seeds} for “{question}”" for question, seeds in needed.items())
        yield (
            f"Refits that would decide: {named} (now {len(study.seeds)}). Set `seeds` and a new `name` in the study "
            "file, and run it."
        )


def seeds_needed(study: Study, name: str, units: int | None) -> int | None:
    """Seeds per model that give a question as many units; None where that is not known."""
    if missing(units) or units is None:
        return None
    (question,) = [each for each in questions_of(study) if each.name == name]
    pooled = [arm for arm, _ in arms(study) if (arm.method, arm.dose) == (question.method, question.dose)]
    return ceil(units / len(pooled)) if question.ask == Ask.EFFECT else int(units)


PART = Part(
    name="questions",
    title="Questions",
    tables=(AnswerRow,),
    charts=charts,
    findings=findings,
    sections=sections,
    advice=advice,
)
