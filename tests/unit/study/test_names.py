"""Names of a study: compared as written, refused where they would be one label or one file, and bounded."""

from pathlib import Path
from typing import Any

import pytest
from study_examples import MINIMAL, changed, with_base, with_models

from headwise.report.labels import BASE, METHODS, plain
from headwise.runtime.atomic import atomic
from headwise.study.name_consistency import UNALIGNED
from headwise.study.parse import parse_study
from headwise.study.section import LARGEST, StudyError

PAIR = {"source": "folder", "path": "p"}
COLLISIONS = [  # models that are added, or sections, then what is said
    (with_models({"name": "Base", **PAIR}), "models: the names 'base' and 'Base' differ only in upper and lower case"),
    (
        with_models({"name": "x", **PAIR, "base": "base", "method": "SFT"}),
        "models: the methods 'sft' and 'SFT' differ only in upper and lower case",
    ),
    (
        with_models({"name": "x", **PAIR, "family": "llama"}, {"name": "y", **PAIR, "family": "Llama"}),
        "models: the families 'llama' and 'Llama' differ only in upper and lower case",
    ),
    (
        with_models({"name": "x", **PAIR, "base": "base", "method": "base"}),
        "models.2 ('x').method: 'base' is what the report calls models that are not aligned",
    ),
    (
        with_models({"name": "x", **PAIR, "base": "base", "method": "Base"}),
        "models.2 ('x').method: 'Base' is what the report calls models that are not aligned",
    ),
    (
        changed(stability={"groups": [{"name": name, "models": ["base"]} for name in ("g", "G")]}),
        "stability.groups: the names 'g' and 'G' differ only in upper and lower case",
    ),
    (
        changed(recursion={"arms": [{"name": name, "model": "base", "mode": "continue"} for name in ("a", "A")]}),
        "recursion.arms: the names 'a' and 'A' differ only in upper and lower case",
    ),
    (
        changed(variants={"variants": [{"name": name, "padding": "left"} for name in ("v", "V")]}),
        "variants.variants: the names 'v' and 'V' differ only in upper and lower case",
    ),
]


@pytest.mark.parametrize(("content", "said"), COLLISIONS)
def test_names_that_would_be_one_label_or_one_file_are_refused(content: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError) as error:
        parse_study(content, "s.yaml")
    assert str(error.value).startswith(f"s.yaml: {said}")
    assert "\n" not in str(error.value)


def test_names_are_compared_as_written_and_may_stand_in_several_places() -> None:
    named = {"base": "base", "method": "SFT", "family": "base"}
    names = ("a_b", "a-b", "a.b", "sft")
    study = parse_study(
        changed(models=[MINIMAL["models"][0], *({"name": name, **PAIR, **named} for name in names)]), "s.yaml"
    )
    assert [model.name for model in study.descendants()] == list(names)
    labels = [plain(name) for name in names]
    assert len(set(labels)) == len(labels)


def test_labels_of_methods_differ_from_their_names_in_case_alone() -> None:
    """What is refused when methods differ in case is all that the labels could make one."""
    assert all(label.casefold() == plain(name) for name, label in METHODS.items())
    assert BASE == UNALIGNED


def test_the_longest_names_make_files_that_disks_take(tmp_path: Path) -> None:
    name, seed = "n" * 100, LARGEST
    study = parse_study(with_base(name=name, seeds=[seed]) | {"models": [{"name": name, "source": "train"}]}, "s.yaml")
    for path in (f"{study.models[0].name}/seed{seed}.parquet", f"{name}.parquet"):
        with atomic(tmp_path / path) as temporary:
            temporary.write_text("content")
        assert (tmp_path / path).is_file()
