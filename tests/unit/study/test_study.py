"""What a valid study file means, and how soon it is read."""

import json
import subprocess
import sys

import pytest
import yaml
from study_examples import DEFAULT, MINIMAL, changed, with_base, with_hub, with_models

from headwise.analyses.specialization.settings import ESTIMATOR_FOLDER, Specialization, known_estimators
from headwise.study.arms import arms
from headwise.study.extraction import Extraction
from headwise.study.parse import load_study, parse_study
from headwise.study.section import StudyError
from headwise.study.study import study_model


def test_the_default_study_has_two_bases_each_with_an_arm_and_its_placebo_and_five_refits() -> None:
    study = load_study(DEFAULT)
    assert [model.name for model in study.bases()] == ["multi_head", "grouped_query"]
    assert [(arm.base, arm.method) for arm, _ in arms(study)] == [("multi_head", "dpo"), ("grouped_query", "dpo")]
    assert len(study.descendants()) == 4
    assert {tuple(study.seeds_of(model)) for model in study.models} == {(1, 2, 3, 4, 5)}


def test_bases_of_the_default_study_differ_from_the_first_in_one_field() -> None:
    study = load_study(DEFAULT)
    first, *others = [study.decoder_of(model).model_dump() for model in study.models if model.source == "train"]
    differences = [{key for key in first if first[key] != other[key]} for other in others]
    assert differences == [{"key_value_heads"}]


def test_seeds_come_from_the_model_else_its_base_else_the_study() -> None:
    content = changed(
        seeds=[7],
        models=[
            {"name": "a", "source": "train", "seeds": [4, 5]},
            {"name": "a-sft", "source": "align", "base": "a", "method": "sft"},
            {"name": "a-dpo", "source": "align", "base": "a", "method": "dpo", "seeds": [5]},
            {"name": "b", "source": "train"},
            {"name": "b-sft", "source": "align", "base": "b", "method": "sft"},
        ],
    )
    study = parse_study(content, "s.yaml")
    seeds = {model.name: study.seeds_of(model) for model in study.models}
    assert seeds == {"a": [4, 5], "a-sft": [4, 5], "a-dpo": [5], "b": [7], "b-sft": [7]}


def test_a_model_made_elsewhere_has_a_seed_for_each_refit_and_else_one() -> None:
    refits = {21: "org/alias", 49: "org/battlestar"}
    content = changed(
        seeds=[4, 5],
        models=[
            {"name": "one", "source": "hub", "repository": "org/name"},
            {"name": "protocol", "source": "hub", "repository": "org/name", "seeds": [42, 123]},
            {"name": "numbered", "source": "hub", "repository": "org/name-seed{seed}", "revision": "step{seed}"},
            {"name": "named", "source": "hub", "repositories": refits},
            {"name": "disk", "source": "folder", "path": "runs/{seed}"},
        ],
    )
    study = parse_study(content, "s.yaml")
    seeds = {model.name: study.seeds_of(model) for model in study.models}
    assert seeds == {"one": [4], "protocol": [42, 123], "numbered": [4, 5], "named": [21, 49], "disk": [4, 5]}
    numbered, named = study.model("numbered"), study.model("named")
    assert (numbered.place("repository", 5), numbered.place("revision", 5)) == ("org/name-seed5", "step5")
    assert (named.place("repository", 49), named.place("revision", 49)) == ("org/battlestar", "main")


def test_precision_and_template_come_from_the_model_else_from_extraction() -> None:
    content = with_hub(dtype="bfloat16", device_map="auto", first_token="bos") | {"extraction": {"template": "chat"}}
    study = parse_study(content, "s.yaml")
    public, base = study.model("public"), study.model("base")
    assert (study.extraction_of(public).dtype, study.extraction_of(public).template) == ("bfloat16", "chat")
    assert (study.extraction.first_token, study.extraction_of(public).first_token) == ("tokenizer", "bos")
    assert study.extraction_of(base) == study.extraction
    assert study.loading_of(public).device_map == "auto"
    assert not study.loading_of(public).trust_remote_code
    pinned = parse_study(with_hub(trust_remote_code=True, revision="0" * 40), "s.yaml")
    assert pinned.loading_of(pinned.model("public")).trust_remote_code


@pytest.mark.parametrize("written", ["2024-02-29", "'2024-02-29'"])
def test_a_date_is_one_with_quotes_and_without(written: str) -> None:
    extraction = yaml.safe_load(f"date: {written}")
    found = parse_study(changed(extraction=extraction), "s.yaml").extraction
    assert found.date == "2024-02-29"
    assert Extraction(**json.loads(json.dumps(found.model_dump()))) == found


@pytest.mark.parametrize("date", ["2023-02-29", "29 Feb 2024", "2024-02-29T10:00", "today", 20240229, None])
def test_what_is_no_date_is_refused(date: object) -> None:
    with pytest.raises(StudyError, match=r"s.yaml: extraction.date: "):
        parse_study(changed(extraction={"date": date}), "s.yaml")


def test_a_family_is_named_by_the_model_else_by_its_base() -> None:
    study = parse_study(
        with_models(
            {"name": "public", "source": "folder", "path": "p", "family": "vendor"},
            {"name": "public-chat", "source": "folder", "path": "q", "base": "public"},
        ),
        "s.yaml",
    )
    families = {model.name: study.family_of(model) for model in study.models}
    assert families == {"base": "base", "tuned": "base", "public": "vendor", "public-chat": "vendor"}


def test_a_models_own_training_changes_only_what_it_names() -> None:
    study = parse_study(with_base(training={"steps": 7}) | {"training": {"steps": 5, "batch": 3}}, "s.yaml")
    training = study.training_of(study.models[0])  # type: ignore[arg-type]
    assert (training.steps, training.batch, training.tokens) == (7, 3, 128)


def test_pair_statistics_are_those_of_selected_estimators() -> None:
    study = parse_study(
        changed(specialization={"estimators": ["output_cka", "entropy_profile", "hellinger"]}), "s.yaml"
    )
    assert study.section(Specialization).pair_statistics() == ["hellinger", "output_cka"]


def test_estimators_are_the_modules_of_their_folder() -> None:
    assert set(known_estimators()) == {path.stem for path in ESTIMATOR_FOLDER.iterdir() if path.suffix == ".py"} - {
        "__init__"
    }
    assert parse_study(MINIMAL, "s.yaml").specialization.estimators == known_estimators()


def test_a_study_survives_a_round_trip() -> None:
    study = load_study(DEFAULT)
    assert study_model().model_validate(study.model_dump()) == study


def in_fresh_interpreter(code: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


def test_a_study_is_parsed_within_a_second_of_a_fresh_interpreter_and_without_heavy_libraries() -> None:
    code = f"""
import sys, time
from headwise.study.parse import check_paths, parse_study
from headwise.study.yaml_file import read_yaml
parse_study(read_yaml({str(DEFAULT)!r}), "s.yaml")
print(time.process_time() < 1, sorted({{"torch", "transformers", "pandas", "numpy"}} & set(sys.modules)))
"""
    assert in_fresh_interpreter(code) == "True []"
