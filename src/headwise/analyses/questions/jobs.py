"""What the rule tells the job that answers the questions of a study.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.analyses.questions.rows import AnswerRow
from headwise.analyses.questions.settings import Ask, margin_of, questions_of
from headwise.models.places import results
from headwise.study.study import Study

TABLES = (AnswerRow.table,)
# The finished table that a question is answered from.
NEEDED: dict[Ask, str] = {
    Ask.EFFECT: "effect_refits",
    Ask.EFFECT_DIFFERENCE: "effect_refits",
    Ask.ARCHITECTURE: "specialization",
    Ask.CHANGE: "contrasts",
    Ask.NOISE: "noise_contrasts",
    Ask.SHARING: "noise_sharing",
    Ask.AGREEMENT: "stability",
}


def tables(study: Study) -> tuple[str, ...]:
    """Finished tables of this analysis; none where the study asks nothing."""
    return TABLES if questions_of(study) else ()


def needed_tables(study: Study) -> list[str]:
    """The finished tables that the questions of a study are answered from."""
    names = dict.fromkeys(NEEDED[question.ask] for question in questions_of(study))
    return [results(study, f"analyses/{name}.parquet") for name in names]


def question_arguments(study: Study) -> dict[str, Any]:
    """Of rule answer_questions."""
    return {
        "asked": [
            {
                "question": question.model_dump(mode="json"),
                "reference": question.reference or study.reference(),
                "margin": margin_of(study, question),
            }
            for question in questions_of(study)
        ],
        "comparison": study.comparison.model_dump(mode="json"),
        "study": study.name,
    }
