"""The sections noise, probe and recursion: what a study can get wrong is refused by field before anything runs."""

from typing import Any

import pytest
from tiny import tiny_content

from headwise.analyses.noise.settings import Noise, Probe
from headwise.analyses.recursion.settings import Recursion
from headwise.study.parse import parse_study
from headwise.study.section import StudyError
from headwise.study.study import Study

ARM = {"name": "one", "model": "multi_head", "mode": "continue"}


def parsed(**section: Any) -> Study:
    return parse_study({**tiny_content(), **section}, "study.yaml")


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"noise": {"absolute": [-0.1]}}, "noise.absolute.0: Input should be greater than or equal to 0"),
        ({"noise": {"absolute": [float("nan")]}}, "noise.absolute.0: .*(finite|greater)"),
        ({"noise": {"absolute": [0.1, 0.1]}}, "noise.absolute: 0.1 is listed twice"),
        ({"noise": {"absolute": [0], "relative": []}}, "noise: absolute and relative hold no σ above 0"),
        ({"noise": {"sites": ["attention"]}}, "noise.sites.0: .*'attention_logits', 'keys' or 'values'"),
        ({"noise": {"sites": []}}, "noise.sites: .*at least 1"),
        ({"noise": {"regions": ["early"]}}, "regions: the region 'early' of the 2 layers of 'multi_head' holds no"),
        ({"noise": {"specialization": {"regions": ["middle"]}}}, "the region 'middle' of the 2 layers"),
        ({"noise": {"models": ["multi_head-sft"]}}, "noise.models: there is no base model 'multi_head-sft'"),
        ({"noise": {"duplicate": ["multi_head"]}}, "duplicate: 'multi_head' has as many key and value heads as heads"),
        ({"noise": {"duplicate": ["other"]}}, "duplicate: 'other' is not among the base models"),
        ({"noise": {"tokens": 200}}, "noise.tokens: 200 tokens do not fit into the 128 positions of 'multi_head'"),
        ({"noise": {"draws": True}}, "noise: 'draws' has a truth value"),
        ({"probe": {"sigma": 0}}, "probe.sigma: Input should be greater than 0"),
        ({"probe": {"region": "early"}}, "probe.region: the region 'early' of the 2 layers"),
        ({"probe": {"models": ["nobody"]}}, "probe.models: there is no base model 'nobody'"),
        ({"recursion": {"arms": []}}, "recursion.arms: .*at least 1"),
        ({"recursion": {"arms": [ARM, ARM]}}, "recursion.arms: arm 'one' is defined twice"),
        ({"recursion": {"arms": [{**ARM, "model": "nobody"}]}}, r"arms.0 \('one'\).model: there is no model 'nobody'"),
        ({"recursion": {"arms": [{**ARM, "mode": "rewrite"}]}}, "arms.0: mode 'rewrite' needs an instruction"),
        ({"recursion": {"arms": [{**ARM, "instruction": "go on"}]}}, "arms.0: mode 'continue' takes no instruction"),
        ({"recursion": {"arms": [ARM], "context": 100}}, r"arms.0 \('one'\): context 100 and new_tokens 64 do not fit"),
        ({"recursion": {"arms": [ARM], "generations": 2}}, "consecutive: 3 generations in a row are more than the 2"),
        ({"noises": {}}, "noises: unknown key"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused_in_one_sentence(section, sentence):
    with pytest.raises(StudyError, match=f"study.yaml: .*{sentence}"):
        parsed(**section)


def test_the_section_that_held_them_all_is_refused_with_what_to_write():
    with pytest.raises(StudyError, match=r"study.yaml: robustness: .*write noise, probe and recursion without it"):
        parsed(robustness={"noise": {}})


def test_a_study_without_the_section_has_no_experiment():
    study = parse_study(tiny_content(), "study.yaml")
    assert (study.find(Noise), study.find(Probe), study.find(Recursion)) == (None, None, None)


def test_doses_are_ascending_and_above_zero():
    noise = parsed(noise={"absolute": [0.2, 0, 0.1], "relative": []}).section(Noise)
    assert noise.sigmas("absolute") == [0.1, 0.2]
    assert noise.sigmas("relative") == []


def test_aligned_models_have_the_shape_of_their_base():
    with pytest.raises(StudyError, match="positions of 'multi_head-sft'"):
        parsed(recursion={"arms": [{**ARM, "model": "multi_head-sft"}], "context": 100})
