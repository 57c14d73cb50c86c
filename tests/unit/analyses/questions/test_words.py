"""Questions and answers in words: short, for every question and answer, without a direction that is not shown."""

from itertools import product

import pytest
from report_examples import example_study

from headwise.analyses.questions.report.words import answer_sentence, cells, how_to_read, question_words
from headwise.analyses.questions.rows import AnswerRow, Estimand
from headwise.analyses.questions.settings import OF_PRIMARY, Ask, Claim
from headwise.report.finding import MOST_WORDS
from headwise.report.rows import Answer

STUDY = example_study()
DIRECTIONS = ("raises", "lowers", "higher", "lower", "more", "less", "worse", "milder")
ALL = [pytest.param(*each, id=" ".join(each)) for each in product(Ask, Answer)]


def answered(ask: Ask, answer: Answer, estimate: float = 0.02) -> dict[str, object]:
    return vars(
        AnswerRow(
            question="q",
            title="",
            ask=ask,
            method="dpo",
            dose=3 if ask in (Ask.EFFECT, Ask.EFFECT_DIFFERENCE) else None,
            group="grouped_query-window",
            reference="multi_head-window",
            site="attention_output" if ask == Ask.NOISE else "keys" if ask == Ask.SHARING else None,
            claim=Claim.DIFFERS,
            answer=answer,
            estimand=Estimand.ESTIMATOR if ask in OF_PRIMARY else Estimand.LOG_RATIO,
            estimate=estimate,
            ci_low=estimate / 2,
            ci_high=estimate * 2,
            n=10,
            unit="refit",
            test="sign flip",
            confirmatory=True,
            tests=4,
            margin=0.02,
            units_needed=24 if answer == Answer.UNDECIDED else None,
        )
    )


@pytest.mark.parametrize(("ask", "answer"), ALL)
def test_every_answer_is_one_short_sentence(ask: Ask, answer: Answer) -> None:
    said = answer_sentence(STUDY, answered(ask, answer))
    assert len(said.split()) <= MOST_WORDS
    assert said[0].isupper()
    assert said.endswith(".")
    assert said.count(". ") == 0
    assert "_" not in said
    assert question_words(STUDY, answered(ask, answer)).endswith("?")


@pytest.mark.parametrize(("ask", "answer"), ALL)
def test_a_direction_is_named_where_it_is_shown_and_turns_with_the_sign(ask: Ask, answer: Answer) -> None:
    above, below = (answer_sentence(STUDY, answered(ask, answer, sign)) for sign in (0.02, -0.02))
    decided = answer in (Answer.YES, Answer.NO)
    assert (above != below) == decided
    assert any(f" {word} " in above.replace(".", " ") for word in DIRECTIONS) == decided


@pytest.mark.parametrize("ask", Ask)
def test_how_to_read_it_takes_three_sentences_at_most(ask: Ask) -> None:
    read = list(how_to_read(STUDY, answered(ask, Answer.YES)))
    assert 2 <= len(read) <= 3
    assert all(sentence.endswith(".") for sentence in read)


def test_the_numbers_leave_out_what_is_not_there() -> None:
    shown = dict(cells(STUDY, answered(Ask.EFFECT, Answer.UNDECIDED)))
    assert shown["Would decide"] == "about 24 refits"
    assert shown["Found (95 % interval)"] == "+0.0200 (+0.0100 to +0.0400)"
    assert "p" not in shown
    assert "Remark" not in shown
