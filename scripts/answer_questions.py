"""Rule answer_questions."""

from headwise.analyses.questions.answer import answer_questions
from headwise.runtime.job import run

run(answer_questions, snakemake)
