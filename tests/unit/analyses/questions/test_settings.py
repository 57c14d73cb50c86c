"""Questions that a study may ask, and those that its design cannot answer."""

from itertools import product
from typing import Any

import pytest

from headwise.analyses.questions.settings import Question, smallest_p
from headwise.statistics.generators import generator_for
from headwise.statistics.permutation import sign_flip, two_sample
from headwise.study.parse import parse_study
from headwise.study.section import StudyError
from headwise.study.study import Study

EFFECT = {"name": "dpo", "ask": "effect", "method": "dpo"}
LEVELS = {"name": "levels", "ask": "architecture", "group": "two"}


def study(*questions: dict[str, Any], seeds: int = 5, **more: Any) -> Study:
    models: list[dict[str, Any]] = [{"name": base, "source": "train"} for base in ("one", "two")]
    for base, placebo in product(("one", "two"), (False, True)):
        arm = {"source": "align", "base": base, "method": "dpo", "placebo": placebo}
        models.append({"name": f"{base}-{'coin' if placebo else 'dpo'}", **arm})
    content = {"name": "s", "prompts": {"path": "p.jsonl"}, "models": models, "seeds": [*range(1, seeds + 1)]}
    return parse_study(content | {"questions": list(questions)} | more, "s.yaml")


def test_the_smallest_p_is_that_of_the_tests() -> None:
    found = study(EFFECT, LEVELS, EFFECT | {"name": "d", "ask": "effect_difference", "group": "two"})
    generator = generator_for("test")
    flips = sign_flip([0.1 * place + 1 for place in range(10)], generator, 99).p_attainable
    splits = two_sample([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], generator, 99).p_attainable
    assert [smallest_p(found, question) for question in found.questions] == pytest.approx([flips, splits, splits])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("questions", "changes", "message"),
    [
        (
            [LEVELS],
            {"seeds": 3},
            r"no p below 0.1, above the level 0.05 over 1 declared test: give the study more seeds",
        ),
        ([EFFECT, EFFECT], {}, "another question has this name"),
        ([EFFECT | {"dose": 3}], {}, "no arm with method 'dpo' and dose 3 has a placebo"),
        ([LEVELS | {"group": "three"}], {}, "there is no base model 'three'"),
        ([{"name": "n", "ask": "noise", "group": "two"}], {}, "noise needs the section `noise`"),
        ([{"name": "a", "ask": "agreement", "group": "two"}], {}, "agreement needs the section `stability`"),
        ([{"name": "a", "ask": "effect"}], {}, "needs `method`"),
        ([EFFECT | {"group": "one"}], {}, "has no `group`"),
        ([EFFECT], {"comparison": {"confirmatory": ["architecture"]}}, "leave this field out"),
    ],
)
def test_what_cannot_be_answered_is_refused(questions: list[Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        study(*questions, **changes)


def test_the_margin_is_that_of_the_study_where_the_question_is_about_its_estimator() -> None:
    assert Question(**EFFECT).margin is None
    assert study(EFFECT, comparison={"equivalence_margin": 0.013}).comparison.equivalence_margin == 0.013
