"""Schema and reference of the study file are generated from its models, and examples in the documents are valid."""

from pathlib import Path

import pytest
import yaml
from study_examples import ROOT, changed

from headwise.study.parse import parse_study, study_schema
from headwise.study.reference import BEGIN, END, schema_text, study_reference, with_reference


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
        "| `name` | text, matching `^[A-Za-z0-9][A-Za-z0-9_.-]*$`, at most 100 characters | required "
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
        for name, field in definition.get("properties", {}).items():
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
