"""The study file: what a valid one means, and one readable line for each way in which one can be wrong."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from headwise.study.parse import check_paths, load_study, parse_study, study_schema
from headwise.study.section import StudyError
from headwise.study.specialization import ESTIMATOR_FOLDER, known_estimators
from headwise.study.study import Study
from headwise.study_reference import BEGIN, END, schema_text, study_reference, with_reference

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "config" / "config.yaml"

MINIMAL: dict[str, Any] = {
    "name": "minimal",
    "prompts": {"path": "prompts.jsonl"},
    "models": [
        {"name": "base", "source": "train"},
        {"name": "tuned", "source": "align", "base": "base", "method": "sft"},
    ],
}


def changed(**sections: Any) -> dict[str, Any]:
    """The minimal study with whole sections replaced; None removes one."""
    content = copy.deepcopy(MINIMAL) | sections
    return {key: value for key, value in content.items() if value is not None}


def with_models(*models: dict[str, Any]) -> dict[str, Any]:
    """The minimal study with these models added to its two."""
    return changed(models=[*MINIMAL["models"], *models])


def with_base(**fields: Any) -> dict[str, Any]:
    """The minimal study with these fields added to its base model."""
    return changed(models=[MINIMAL["models"][0] | fields, MINIMAL["models"][1]])


def with_hub(**fields: Any) -> dict[str, Any]:
    """The minimal study with a model of a hub added to its two."""
    return with_models({"name": "public", "source": "hub", "repository": "org/name"} | fields)


def with_lens(**fields: Any) -> dict[str, Any]:
    """The minimal study with weights of TransformerLens added to its two models."""
    lens = {"name": "lens", "source": "transformer_lens", "weights": "w.pt", "config": "c.json", "tokenizer": "t"}
    return with_models({key: value for key, value in (lens | fields).items() if value is not None})


# --- what is wrong, where, and what to do ---

SHAPE_ERRORS = [  # content, field, problem and remedy; the published schema finds these too
    (changed(name=None), "name", "required but missing: add it"),
    (changed(prompts=None), "prompts", "required but missing: add it"),
    (changed(prompts={}), "prompts.path", "required but missing: add it"),
    (changed(models=[]), "models", "at least 1 item after validation, not 0 (got []): correct the value"),
    (changed(name="a/b"), "name", "(got 'a/b'): correct the value"),
    (changed(seed=3), "seed", "unknown key: correct its spelling or remove it"),
    (changed(training={"step": 3}), "training.step", "unknown key: correct its spelling or remove it"),
    (
        changed(alignment={"dpo": {"beta": 0}}),
        "alignment.dpo.beta",
        "greater than 0 (got 0): correct the value",
    ),
    (changed(training={"steps": "many"}), "training.steps", "(got 'many'): correct the value"),
    (changed(training={"learning_rate": -1}), "training.learning_rate", "(got -1): correct the value"),
    (changed(seeds=[1, -1]), "seeds.1", "(got -1): correct the value"),
    (changed(training={"steps": True}), "training", "'steps' has a truth value"),
    (with_models({"name": "x"}), "models.2", "source is missing: add `source:` with one of 'train', "),
    (
        with_models({"name": "x", "source": "web"}),
        "models.2",
        "no source 'web': choose from 'train', 'align'",
    ),
    (with_models({"name": "a; b", "source": "train"}), "models.2.name", "(got 'a; b'): correct the value"),
    (changed(seeds=[]), "seeds", "at least 1 item after validation, not 0 (got []): correct the value"),
    (changed(decoder={"head_width": 15}), "decoder.head_width", "multiple of 2 (got 15): correct the value"),
    (changed(decoder={"window": 0}), "decoder.window", "(got 0): correct the value"),
    (changed(corpus={"source": "web"}), "corpus.source", "(got 'web'): correct the value"),
    (changed(corpus={"revision": "main"}), "corpus.revision", "(got 'main'): correct the value"),
    (changed(prompts={"path": "p", "sha256": "ab"}), "prompts.sha256", "(got 'ab'): correct the value"),
    (changed(extraction={"dtype": "float64"}), "extraction.dtype", "(got 'float64'): correct the value"),
    (changed(extraction={"max_tokens": 1}), "extraction.max_tokens", "(got 1): correct the value"),
    (changed(specialization={"estimators": []}), "specialization.estimators", "(got []): correct the value"),
    (changed(comparison={"level": 0.5}), "comparison.level", "(got 0.5): correct the value"),
    (with_base(seeds=[]), "models.0.seeds", "(got []): correct the value"),
    (with_base(path="x"), "models.0.path", "unknown key: correct its spelling or remove it"),
    (with_base(decoder="x"), "models.0.decoder", "(got 'x'): correct the value"),
    (with_models({"name": "x", "source": "folder"}), "models.2.path", "required but missing: add it"),
    (with_hub(dtype="int8"), "models.2.dtype", "(got 'int8'): correct the value"),
    (with_hub(quantization="2bit"), "models.2.quantization", "(got '2bit'): correct the value"),
    (with_hub(device_map="cuda"), "models.2.device_map", "(got 'cuda'): correct the value"),
    (with_hub(repository="a/b/c"), "models.2.repository", "(got 'a/b/c'): correct the value"),
    (with_hub(trust_remote_code="yes"), "models.2.trust_remote_code", "(got 'yes'): correct the value"),
    (
        with_models({"name": "x", "source": "folder", "path": "p", "trust_remote_code": "yes"}),
        "models.2.trust_remote_code",
        "unknown key: correct its spelling or remove it",
    ),
    (
        with_models({"name": "x", "source": "align", "base": "base", "method": "ppo"}),
        "models.2.method",
        "Input should be 'sft' or 'dpo' (got 'ppo'): correct the value",
    ),
]

MEANING_ERRORS = [  # content, field, problem and remedy; beyond what a schema can say
    (changed(seeds=[1, 1]), "seeds", "a seed is listed twice: remove one"),
    (with_base(decoder={"layers": "x"}), "models.0 ('base').decoder.layers", "(got 'x'): correct the value"),
    (
        with_base(decoder={"architecture": "gpt2", "window": 4}),
        "models.0 ('base').decoder",
        "architecture gpt2 has neither a window nor shared key_value_heads: leave both out, or choose llama",
    ),
    (
        with_base(training={"optimizer": "adam", "weight_decay": 0.1}),
        "models.0 ('base').training",
        "optimizer adam takes no weight_decay (got 0.1): choose adamw, or 0",
    ),
    (
        changed(training={"learning_rate": float("inf")}),
        "training.learning_rate",
        "Input should be a finite number (got inf): correct the value",
    ),
    (
        with_base(training={"tokens": 300}),
        "models.0 ('base').training.tokens",
        "300 tokens do not fit into 256 positions: lower training.tokens, or raise decoder.positions",
    ),
    (changed(corpus={"source": "text"}), "corpus", "needs a path: add `path:` to the corpus section"),
    (changed(decoder={"key_value_heads": 3}), "decoder", "does not divide heads 8: choose a divisor"),
    (
        changed(specialization={"estimators": ["gini"]}),
        "specialization.estimators",
        "unknown estimator 'gini': choose from ",
    ),
    (
        changed(specialization={"estimators": ["hellinger", "hellinger"]}),
        "specialization.estimators",
        "'hellinger' is listed twice: remove one",
    ),
    (
        changed(specialization={"estimators": ["output_cka"]}),
        "comparison.primary",
        "'hellinger' is not among specialization.estimators: add it there",
    ),
    (
        changed(comparison={"reference": "tuned"}),
        "comparison.reference",
        "there is no base model 'tuned': name one of models",
    ),
    (
        with_models({"name": "base", "source": "train"}),
        "models",
        "'base' is defined 2 times: give each model its own name",
    ),
    (
        with_models({"name": "x", "source": "align", "base": "y", "method": "sft"}),
        "models.2 ('x').base",
        "there is no model 'y': add it to models, or correct the name",
    ),
    (
        with_models({"name": "x", "source": "folder", "path": "p", "base": "x"}),
        "models.2 ('x').base",
        "a model cannot be its own base: name the model it descends from",
    ),
    (
        with_models({"name": "x", "source": "align", "base": "tuned", "method": "dpo"}),
        "models.2 ('x').base",
        "'tuned' is itself aligned: name the base that both descend from",
    ),
    (
        with_models({"name": "x", "source": "align", "base": "base", "method": "sft", "seeds": [1, 9]}),
        "models.2 ('x').seeds",
        "base 'base' has no seed 9: add it there, or remove it",
    ),
    (
        with_models({"name": "x", "source": "train", "seeds": [4, 4]}),
        "models.2 ('x').seeds",
        "a seed is listed twice: remove one",
    ),
    (
        with_base(decoder={"heads": 6, "key_value_heads": 4}),
        "models.0 ('base').decoder",
        "key_value_heads 4 does not divide heads 6: choose a divisor",
    ),
    (
        with_base(decoder={"width": 6}),
        "models.0 ('base').decoder.width",
        "unknown key: correct its spelling or remove it",
    ),
    (with_base(training={"steps": 0}), "models.0 ('base').training.steps", "(got 0): correct the value"),
    (with_hub(trust_remote_code=True), "models.2", "set `revision` to the 40 hexadecimal digits of the commit"),
    (with_hub(quantization=True), "models.2", "'quantization' has a truth value"),
    (with_hub(repository="org/name-{sed}"), "models.2", "a brace that does not belong to {seed}: remove it"),
    (with_hub(repositories={1: "org/name"}), "models.2", "give the place once: `repository`, or `repositories`"),
    (with_models({"name": "x", "source": "hub"}), "models.2", "give the place once: `repository`, or `repositories`"),
    (
        with_models({"name": "x", "source": "hub", "repositories": {1: "org/one"}, "seeds": [1, 2]}),
        "models.2 ('x').repositories",
        "none for seed 2: add it, or remove the seed",
    ),
    (
        with_hub() | {"models": [*with_hub()["models"], {**MINIMAL["models"][1], "name": "x", "base": "public"}]},
        "models.3 ('x').base",
        "'public' was made elsewhere, and only models that this study trains can be aligned here",
    ),
    (
        with_hub(quantization="4bit"),
        "models.2 ('public').quantization",
        "leave output_cka out of specialization.estimators, or the quantization out",
    ),
    (
        with_hub(device_map="auto", seeds=[1, 2])
        | {"stability": {"groups": [{"name": "refits", "models": ["public"]}]}},
        "stability.groups.0 ('refits').models",
        "leave it out of the group, or remove its quantization and device_map",
    ),
    (with_lens(config=None), "models.2", "give the configuration once: `config` on disk, or `repository_config`"),
    (with_lens(tokenizer=None), "models.2", "give the tokenizer once: `tokenizer` on disk, or `tokenizer_repository`"),
    (
        with_lens(config=None, repository_config="c.json"),
        "models.2",
        "`repository_config` is a file in `repository`: add that, or give `config` on disk",
    ),
]


def identify(value: Any) -> str | None:
    return value if isinstance(value, str) and not value.startswith("(") else None


@pytest.mark.parametrize(("content", "field", "ending"), [*SHAPE_ERRORS, *MEANING_ERRORS], ids=identify)
def test_an_invalid_study_gives_file_field_and_remedy_in_one_line(
    content: dict[str, Any], field: str, ending: str
) -> None:
    with pytest.raises(StudyError) as error:
        parse_study(content, "my-study.yaml")
    message = str(error.value)
    assert message.startswith(f"my-study.yaml: {field}: ")
    assert ending in message
    assert "\n" not in message


def test_models_that_are_each_others_base_are_named() -> None:
    models = [
        {"name": "a", "source": "align", "base": "b", "method": "sft"},
        {"name": "b", "source": "align", "base": "a", "method": "sft"},
    ]
    with pytest.raises(StudyError) as error:
        parse_study(changed(models=models), "s.yaml")
    assert str(error.value).splitlines() == [
        "s.yaml: models.0 ('a').base: 'b' is itself aligned: name the base that both descend from",
        "s.yaml: models.1 ('b').base: 'a' is itself aligned: name the base that both descend from",
    ]


def test_problems_of_several_sections_are_all_told() -> None:
    content = changed(seed=3, training={"steps": "many"}, extraction={"dtype": "int8"})
    with pytest.raises(StudyError) as error:
        parse_study(content, "s.yaml")
    fields = [line.split(": ")[1] for line in str(error.value).splitlines()]
    assert sorted(fields) == ["extraction.dtype", "seed", "training.steps"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such study file: check the path"),
        ("", "not a mapping of sections: see config/README.md"),
        ("- name: x\n", "not a mapping of sections: see config/README.md"),
        ("name: [unclosed\n", "not valid YAML"),
        (b"name: caf\xe9\n", "not UTF-8: save the file in that encoding"),
        ("name: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_study_is_named(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    path = tmp_path / "study.yaml"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(StudyError) as error:
        load_study(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)
    with pytest.raises(StudyError, match="cannot be read"):
        load_study(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (changed(corpus={"source": "text", "path": "absent"}), "corpus.path: there is no folder absent"),
        (changed(corpus={"source": "dataset", "path": "org/data"}), "corpus.revision: 'org/data' is no folder here"),
        (
            with_models({"name": "x", "source": "folder", "path": "runs/{seed}", "seeds": [1, 2]}),
            "models.2 ('x').path: there is no folder runs/2",
        ),
        (
            with_models({"name": "x", "source": "folder", "path": "runs/3"}),
            "models.2 ('x').path: there is no file runs/3/config.json",
        ),
        (with_lens(), "models.2 ('lens').weights: there is no file w.pt"),
        (with_lens(), "models.2 ('lens').tokenizer: there is no folder t"),
    ],
)
def test_what_is_not_on_disk_is_named(tmp_path: Path, content: dict[str, Any], problem: str) -> None:
    for number in "13":
        (tmp_path / "runs" / number).mkdir(parents=True)
    (tmp_path / "runs" / "1" / "config.json").touch()
    with pytest.raises(StudyError) as error:
        check_paths(parse_study(content, "s.yaml"), tmp_path, "s.yaml")
    assert f"s.yaml: {problem}" in str(error.value)
    assert "runs/1" not in str(error.value)


def test_a_data_set_on_disk_needs_no_revision(tmp_path: Path) -> None:
    content = changed(corpus={"source": "dataset", "path": "data"})
    (tmp_path / "data").mkdir()
    check_paths(parse_study(content, "s.yaml"), tmp_path, "s.yaml")


# --- the published schema ---


def schema_errors(content: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(study_schema()).iter_errors(content)]


def test_the_schema_is_a_schema_and_accepts_the_default_study() -> None:
    jsonschema.Draft202012Validator.check_schema(study_schema())
    assert schema_errors(yaml.safe_load(DEFAULT.read_text())) == []
    assert schema_errors(MINIMAL) == []


@pytest.mark.parametrize(("content", "field"), [case[:2] for case in SHAPE_ERRORS])
def test_the_schema_finds_the_same_errors_of_shape(content: dict[str, Any], field: str) -> None:
    assert schema_errors(content), field


# --- what a valid study means ---


def test_the_default_study_has_four_bases_with_two_descendants_each_and_three_refits() -> None:
    study = load_study(DEFAULT)
    assert [model.name for model in study.bases()] == [
        "multi_head",
        "grouped_query",
        "multi_query",
        "sliding_window",
    ]
    assert len(study.descendants()) == 8
    assert {tuple(study.seeds_of(model)) for model in study.models} == {(1, 2, 3)}


def test_bases_of_the_default_study_differ_from_the_first_in_one_field() -> None:
    study = load_study(DEFAULT)
    first, *others = [study.decoder_of(model).model_dump() for model in study.models if model.source == "train"]
    differences = [{key for key in first if first[key] != other[key]} for other in others]
    assert differences == [{"key_value_heads"}, {"key_value_heads"}, {"window"}]


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
    content = with_hub(dtype="bfloat16", device_map="auto") | {"extraction": {"template": "chat"}}
    study = parse_study(content, "s.yaml")
    public, base = study.model("public"), study.model("base")
    assert (study.extraction_of(public).dtype, study.extraction_of(public).template) == ("bfloat16", "chat")
    assert study.extraction_of(base) == study.extraction
    assert study.loading_of(public).device_map == "auto"
    assert not study.loading_of(public).trust_remote_code
    pinned = parse_study(with_hub(trust_remote_code=True, revision="0" * 40), "s.yaml")
    assert pinned.loading_of(pinned.model("public")).trust_remote_code


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
    assert study.specialization.pair_statistics() == ["hellinger", "output_cka"]


def test_estimators_are_the_modules_of_their_folder() -> None:
    assert set(known_estimators()) == {path.stem for path in ESTIMATOR_FOLDER.iterdir() if path.suffix == ".py"} - {
        "__init__"
    }
    assert parse_study(MINIMAL, "s.yaml").specialization.estimators == known_estimators()


def test_a_study_survives_a_round_trip() -> None:
    study = load_study(DEFAULT)
    assert Study.model_validate(study.model_dump()) == study


# --- cost ---


def in_fresh_interpreter(code: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


def test_a_study_is_parsed_within_a_second_of_a_fresh_interpreter_and_without_heavy_libraries() -> None:
    code = f"""
import sys, time
from headwise.study.parse import check_paths, load_study
load_study({str(DEFAULT)!r})
print(time.process_time() < 1, sorted({{"torch", "transformers", "pandas", "numpy"}} & set(sys.modules)))
"""
    assert in_fresh_interpreter(code) == "True []"


# --- what is generated from the models ---


def test_the_published_schema_is_that_of_the_models() -> None:
    published = (ROOT / "workflow" / "schemas" / "study.schema.json").read_text(encoding="utf-8")
    assert published == schema_text(study_schema()), "run: headwise schema --output workflow/schemas/study.schema.json"


def test_the_reference_in_the_readme_is_that_of_the_models() -> None:
    readme = ROOT / "config" / "README.md"
    assert readme.read_text(encoding="utf-8") == with_reference(readme), (
        "run: headwise schema --markdown --output config/README.md"
    )


def test_the_reference_lists_every_field_with_type_default_and_meaning() -> None:
    rows = set(study_reference().splitlines())
    assert {
        "| `name` | text, matching `^[A-Za-z0-9][A-Za-z0-9_.-]*$` | required "
        "| Folder under results/ that everything is written to |",
        "| `prompts` | section | required | The prompt set that every model is measured on. |",
        "| `window` | whole number, ≥ 1 | – | Sliding window in tokens; default: attend to all positions |",
        "| `level` | number, > 0, < 0.5 | `0.05` | Level of tests; intervals cover 1 − level |",
        '| `device` | `auto`, `cpu`, `cuda` | `"auto"` | auto: a GPU where there is one |',
        "### `alignment.dpo`",
        "### `models`, `source: folder`",
    } <= rows
    definitions = [*study_schema()["$defs"].values(), study_schema()]
    described = [row for row in study_reference().splitlines() if row.startswith("| `") and not row.endswith("|  |")]
    for definition in definitions:
        for name, field in definition["properties"].items():
            meaning = field.get("description", "")
            assert any(row.startswith(f"| `{name}` |") and meaning in row for row in described), (name, meaning)


def test_what_stands_outside_the_markers_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert with_reference(path) == f"before\n{BEGIN}\n\n{study_reference()}\n{END}\nafter\n"
    path.write_text(f"before\n{END}\n{BEGIN}\n")
    with pytest.raises(ValueError, match=r"README\.md: no place for the reference: add these two lines"):
        with_reference(path)


def test_the_example_in_the_readme_is_a_valid_study() -> None:
    blocks = (ROOT / "config" / "README.md").read_text(encoding="utf-8").split("```yaml\n")[1:]
    examples = [yaml.safe_load(block.split("```")[0]) for block in blocks]
    (example,) = [content for content in examples if content]
    study = parse_study(example, "config/README.md")
    assert [model.name for model in study.descendants()] == ["tuned"]


def test_the_examples_about_models_are_valid() -> None:
    blocks = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").split("```yaml\n")[1:]
    examples = [yaml.safe_load(block.split("```")[0]) for block in blocks]
    lists = [example["models"] if isinstance(example, dict) else example for example in examples]
    models = [model for each in lists for model in each]
    study = parse_study(changed(models=models), "docs/models.md")
    assert {model.source for model in study.models} == {"hub", "folder", "transformer_lens"}
