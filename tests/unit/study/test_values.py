"""Values that a field of a study would take for others, and any value at all in any place: a study, or a sentence."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from study_examples import DEFAULT, MINIMAL, changed, with_base, with_hub, with_models

from headwise.study.parse import parse_study
from headwise.study.section import StudyError
from headwise.study.study import Study


def refusal(content: Any) -> str:
    with pytest.raises(StudyError) as error:
        parse_study(content, "s.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            with_models({"name": "x", "source": "hub", "repositories": {1: "org/one", "1": "org/two"}}),
            "models.2.repositories: a seed is written twice, once as a text: keep one of them",
        ),
        (with_base(decoder={"layers": [1]}), "models.0.decoder: 'layers' is [1]: write a finite number or a text"),
        (with_base(decoder={"layers": {}}), "models.0.decoder: 'layers' is {}: write a finite number or a text"),
        (with_base(training={"learning_rate": float("inf")}), "models.0.training: 'learning_rate' is inf: write a"),
        (
            changed(calibration={"domain_correlations": [5]}),
            "calibration.domain_correlations.0: Input should be less than 1",
        ),
        (
            changed(calibration={"domain_correlations": [-0.1]}),
            "calibration.domain_correlations.0: Input should be greater",
        ),
        (changed(calibration={"effects": [0.1, 0.10]}), "calibration.effects: 0.1 is listed twice: remove one"),
        (
            changed(comparison={"confirmatory": ["comparison"] * 2}),
            "comparison.confirmatory: comparison is listed twice",
        ),
        (changed(stability={"words": [5, "5"]}), "stability.words: 5 is listed twice: remove one"),
        (changed(stability={"analyses": ["heads", "heads"]}), "stability.analyses: heads is listed twice: remove one"),
        (changed(stability={"depths": ["base", "base"]}), "stability.depths: base is listed twice: remove one"),
        (
            changed(stability={"weight_decay": [{"without": "a", "with_decay": "b"}] * 2}),
            "stability.weight_decay: without='a' with_decay='b' is listed twice: remove one",
        ),
        (changed(noise={"absolute": [0.1, 0.1]}), "noise.absolute: 0.1 is listed twice"),
        (changed(prompts={"path": "a\0b"}), "prompts.path: no name of a file holds a NUL character: remove it"),
        (changed(prompts={"path": ""}), "prompts.path: String should have at least 1 character (got ''): correct"),
        (changed(corpus={"source": "text", "path": ""}), "corpus.path: String should have at least 1 character"),
        (with_models({"name": "x", "source": "folder", "path": ""}), "models.2.path: String should have at least 1"),
    ],
)
def test_what_would_be_taken_for_something_else_is_refused_in_one_line(content: Any, said: str) -> None:
    message = refusal(content)
    assert message.startswith(f"s.yaml: {said}")
    assert "\n" not in message


def test_numbers_in_quotes_are_numbers_and_nothing_is_lost() -> None:
    study = parse_study(
        with_hub(repository=None, repositories={1: "org/one", "2": "org/two"}) | {"seeds": ["3", 4.0]}, "s.yaml"
    )
    assert study.seeds == [3, 4]
    assert study.model("public").repositories == {1: "org/one", 2: "org/two"}


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just("9" * 5000)
    | st.just(2**64),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=5,
)
WHOLE = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))


def places(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value of a study file."""
    yield path
    for key, inner in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        yield from places(inner, (*path, key))


@given(st.sampled_from([*places(WHOLE), *places(MINIMAL)][1:]), ANY)
def test_any_value_in_any_place_gives_a_study_or_sentences_that_name_fields(path: tuple[Any, ...], value: Any) -> None:
    content = copy.deepcopy(WHOLE)
    try:
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
    except (KeyError, IndexError, TypeError):  # a place of the other study
        return
    try:
        assert isinstance(parse_study(content, "s.yaml"), Study)
    except StudyError as error:
        for line in str(error).split("\n"):
            assert line.startswith("s.yaml: ")
