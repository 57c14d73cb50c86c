"""Arms of alignment and their placebos."""

import pytest

from headwise.study.arms import arms, placebos, placebos_of
from headwise.study.parse import parse_study
from headwise.study.section import StudyError
from headwise.study.study import Study

ARM = {"source": "align", "base": "plain", "method": "dpo"}


def study(*models: dict[str, object]) -> Study:
    content = {"name": "s", "prompts": {"path": "p.jsonl"}, "models": [{"name": "plain", "source": "train"}, *models]}
    return parse_study(content, "s.yaml")


def test_an_arm_has_the_placebo_of_its_base_method_and_dose() -> None:
    found = study(
        ARM | {"name": "dpo"},
        ARM | {"name": "coin", "placebo": True},
        ARM | {"name": "dpo3", "dose": 3},
        ARM | {"name": "coin3", "placebo": True, "dose": 3},
        ARM | {"name": "sft", "method": "sft"},
    )
    assert [(arm.name, placebo.name) for arm, placebo in arms(found)] == [("dpo", "coin"), ("dpo3", "coin3")]
    assert [model.name for model in placebos(found)] == ["coin", "coin3"]
    assert placebos_of(found, found.model("sft")) == []
    assert [found.method_of(model) for model in found.models] == [
        None,
        "dpo",
        "dpo_placebo",
        "dpo_x3",
        "dpo_placebo_x3",
        "sft",
    ]


def test_an_arm_may_have_several_coins_and_is_set_against_the_first() -> None:
    coins = [ARM | {"name": f"coin{coin}", "placebo": True, "coin": coin} for coin in (1, 2, 3)]
    found = study(ARM | {"name": "dpo"}, *coins)
    assert [placebo.name for placebo in placebos_of(found, found.model("dpo"))] == ["coin1", "coin2", "coin3"]
    assert [(arm.name, placebo.name) for arm, placebo in arms(found)] == [("dpo", "coin1")]


def test_a_dose_multiplies_the_steps_alone() -> None:
    found = study(ARM | {"name": "dpo3", "dose": 3})
    settings = found.settings_of(found.model("dpo3"))
    assert settings == found.alignment.dpo.model_copy(update={"steps": 3 * found.alignment.dpo.steps})


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([{"name": "coin", "placebo": True}], "no model has base 'plain', method dpo and dose 1 without placebo"),
        (
            [{"name": "dpo"}, {"name": "a", "placebo": True}, {"name": "b", "placebo": True}],
            "'a' is the same placebo: remove one of the two, or give it another `coin`",
        ),
        ([{"name": "dpo"}, {"name": "a", "coin": 2}], "'a'.*coin: only a placebo of dpo has a coin"),
        ([{"name": "dpo"}, {"name": "coin", "placebo": True, "dose": 3}], "dose 3 without placebo: add that arm"),
    ],
)
def test_a_placebo_belongs_to_one_arm(models: list[dict[str, object]], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        study(*(ARM | model for model in models))
