"""A wrong study file: one readable line for each way in which one can be wrong, and the published schema, which finds
the errors of shape too.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from study_examples import DEFAULT, MINIMAL, changed, with_base, with_hub, with_lens, with_models

from headwise.analyses.stability.settings import refit_groups, refits_of
from headwise.study.parse import check_paths, load_study, parse_study, study_schema
from headwise.study.section import LARGEST, StudyError

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
    (
        changed(seeds=[1, 2**53]),
        "seeds.1",
        "larger than 2**53 - 1 = 9007199254740991, above which tables and browsers would round whole numbers (got "
        "9007199254740992): correct the value",
    ),
    (with_base(seeds=[17982163893102248868]), "models.0.seeds.0", "larger than 2**53 - 1"),
    (changed(training={"steps": 2**63}), "training.steps", "larger than 2**53 - 1"),
    (changed(extraction={"max_tokens": 2**53}), "extraction.max_tokens", "larger than 2**53 - 1"),
    (changed(seeds=[1, -1]), "seeds.1", "(got -1): correct the value"),
    (changed(training={"steps": True}), "training", "'steps' has a truth value"),
    (with_models({"name": "x"}), "models.2", "source is missing: add `source:` with one of 'train', "),
    (
        with_models({"name": "x", "source": "web"}),
        "models.2",
        "no source 'web': choose from 'train', 'align'",
    ),
    (with_models({"name": "a; b", "source": "train"}), "models.2.name", "(got 'a; b'): correct the value"),
    (changed(name="a" * 101), "name", "at most 100 characters (got 'aaaa"),
    (
        with_models({"name": "x", "source": "folder", "path": "p", "method": "m" * 101}),
        "models.2.method",
        "at most 100",
    ),
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


def refit_group(*names: str, **models: dict[str, Any]) -> dict[str, Any]:
    """The minimal study with these models and a group of refits."""
    content = with_models(*({"name": name, **fields} for name, fields in models.items()))
    group = {"stability": {"groups": [{"name": "refits", "models": [*names]}]}}
    return content | {"seeds": [1, 2], "extraction": {"store": "tensors"}} | group


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
    (
        changed(training={"until_loss": 3.5}),
        "models.0 ('base').training.until_loss",
        "no text decides when training stops: set corpus.validation to the share of documents that do, such as 0.02",
    ),
    (
        changed(extraction={"max_tokens": 300}, models=MINIMAL["models"][:1]),
        "extraction.max_tokens",
        "300 tokens do not fit into the 256 positions of 'base': lower it, or raise decoder.positions",
    ),
    (
        changed(variants={"models": ["tuned"], "variants": [{"name": "v", "padding": "left", "pad_to": 257}]}),
        "variants.variants.0 ('v').pad_to",
        "257 tokens do not fit into the 256 positions of 'tuned': lower it, or raise decoder.positions",
    ),
    (
        changed(noise={"generated_text": {"new_tokens": 256}}),
        "noise.generated_text.new_tokens",
        "257 tokens do not fit into the 256 positions of 'base': lower it, or choose a model with more positions",
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
    (
        with_models({"name": "x", "source": "hub", "repositories": {2**53: "org/one"}}),
        "models.2.repositories.9007199254740992.[key]",
        "larger than 2**53 - 1",
    ),
    (changed(training={"steps": "9" * 5000}), "training.steps", "exceeded maximum size (got '9999"),
    (
        changed(training={"steps": 10**5000}),
        "training.steps",
        "(got a number of thousands of digits)",
    ),
    (with_base(training={"steps": 2**53}), "models.0 ('base').training.steps", "larger than 2**53 - 1"),
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
        with_hub(repository="org/name{seed}", device_map="auto", seeds=[1, 2])
        | {"stability": {"groups": [{"name": "refits", "models": ["public"]}]}},
        "stability.groups.0 ('refits').models",
        "leave it out of the group, or remove its quantization and device_map",
    ),
    (
        refit_group("base", "tuned"),
        "stability.groups.0 ('refits').models",
        "'base' seed 1 and 'tuned' seed 1 both come "
        "from 'base' seed 1, and refits are trained independently: give models that share a base a group each",
    ),
    (
        refit_group("tuned", "other", other={"source": "align", "base": "base", "method": "dpo"}),
        "stability.groups.0 ('refits').models",
        "'tuned' seed 1 and 'other' seed 1 both come from 'base' seed 1",
    ),
    (
        refit_group("base", "other", other={"source": "train"}),
        "stability.groups.0 ('refits').models",
        "'base' seed 1 and 'other' seed 1 read the same weights, and a model is no",
    ),
    (
        refit_group(
            "one", "other", one={"source": "folder", "path": "a/../m/x"}, other={"source": "folder", "path": "m/x/"}
        ),
        "stability.groups.0 ('refits').models",
        "'one' seed 1 and 'other' seed 1 read the same weights",
    ),
    (
        refit_group(
            "one",
            "other",
            one={"source": "hub", "repository": "org/x{seed}"},
            other={"source": "hub", "repositories": {1: "org/y", 2: "org/x1"}},
        ),
        "stability.groups.0 ('refits').models",
        "'one' seed 1 and 'other' seed 2 read the same weights",
    ),
    (
        refit_group(
            "one",
            "other",
            one={"source": "folder", "path": "m/x"},
            other={"source": "folder", "path": "m/y{seed}", "base": "one", "seeds": [1]},
        ),
        "stability.groups.0 ('refits').models",
        "'one' seed 1 and 'other' seed 1 both come from 'one', and refits",
    ),
    (with_lens(config="c{seed}.json"), "models.2", "'config' has a brace, and is the same at every seed"),
    (with_lens(tokenizer="t{1}"), "models.2", "'tokenizer' has a brace, and is the same at every seed"),
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


@pytest.mark.parametrize(
    "content",
    [
        refit_group("tuned"),
        refit_group("base", "other", other={"source": "train", "decoder": {"layers": 3}}),
        refit_group("base", "other", other={"source": "train", "seeds": [3]}),
        refit_group("tuned", "other", other={"source": "align", "base": "third", "method": "sft"},
                    third={"source": "train", "training": {"steps": 7}}),
        refit_group("one", "other", one={"source": "folder", "path": "m/x"}, other={"source": "folder", "path": "m/y"}),
        refit_group("one", "other", one={"source": "hub", "repository": "org/x", "revision": "step1"},
                    other={"source": "hub", "repository": "org/x", "revision": "step2"}),
    ],
)  # fmt: skip
def test_refits_that_are_independent_as_far_as_the_study_says_are_a_group(content: dict[str, Any]) -> None:
    study = parse_study(content, "s.yaml")
    assert len(refits_of(study, refit_groups(study)[0])) >= 2


def test_problems_of_several_sections_are_all_told() -> None:
    content = changed(seed=3, training={"steps": "many"}, extraction={"dtype": "int8"})
    with pytest.raises(StudyError) as error:
        parse_study(content, "s.yaml")
    fields = [line.split(": ")[1] for line in str(error.value).splitlines()]
    assert sorted(fields) == ["extraction.dtype", "seed", "training.steps"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file: check the path"),
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


def test_every_whole_number_is_bounded_and_the_largest_is_taken() -> None:
    def integers(part: Any) -> Iterator[dict[str, Any]]:
        if isinstance(part, dict) and part.get("type") == "integer":
            yield part
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            yield from integers(inner)

    found = list(integers(study_schema()))
    assert len(found) > 40
    assert all(part["maximum"] <= LARGEST for part in found)
    assert float(LARGEST) + 1 == float(LARGEST + 1) != float(LARGEST)
    assert parse_study(changed(seeds=[LARGEST]), "s.yaml").seeds == [LARGEST]


@pytest.mark.parametrize(("content", "field"), [case[:2] for case in SHAPE_ERRORS])
def test_the_schema_finds_the_same_errors_of_shape(content: dict[str, Any], field: str) -> None:
    assert schema_errors(content), field
