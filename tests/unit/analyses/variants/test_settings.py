"""The section about variants of the extraction: what its fields mean together, and how a wrong one is refused."""

import re
from typing import Any

import pytest
import yaml
from project import ROOT

from headwise.analyses.variants.settings import Variant, Variants, measured_with_variants
from headwise.study.extraction import Extraction
from headwise.study.parse import parse_study
from headwise.study.section import StudyError
from headwise.study.study import Study


def study(**variants: Any) -> Study:
    return parse_study(
        {
            "name": "small",
            "seeds": [4, 5],
            "prompts": {"path": "prompts.jsonl"},
            "models": [
                {"name": "base", "source": "train"},
                {"name": "one", "source": "train", "seeds": [5]},
                {"name": "base-sft", "source": "align", "base": "base", "method": "sft"},
            ],
            "variants": variants,
        },
        "study.yaml",
    )


LEFT = {"name": "left", "padding": "left"}


@pytest.mark.parametrize(
    ("variants", "problem"),
    [
        ({"protocols": [LEFT]}, "variants: protocols: its name is `variants` now: rename it"),
        ({"variants": [LEFT, LEFT]}, "variants.variants: variant 'left' is defined twice: give each its own name"),
        ({"variants": [{"name": "study", "padding": "left"}]}, "give the variant another name"),
        ({"variants": [LEFT | {"reference": "rihgt"}]}, "there is no variant 'rihgt' to compare with"),
        ({"variants": [{"name": "same"}]}, "variant 'same' differs in nothing from its reference 'study'"),
        ({"variants": [{"name": "a", "averaging": "unmasked"}]}, "averaging acts on padded prompts alone"),
        ({"variants": [{"name": "a", "special_tokens": "twice"}]}, "special_tokens 'twice' needs a chat template"),
        ({"variants": [{"name": "a", "template": "chat", "first_token": "none"}]}, "first_token acts on raw text"),
        ({"variants": [{"name": "a", "first_token": "eos"}]}, "variants.variants.0.first_token: "),
        ({"variants": [LEFT | {"pad_too": 3}]}, "variants.variants.0.pad_too: unknown key"),
        ({"variants": [LEFT | {"pad_to": 1}]}, "variants.variants.0.pad_to: "),
        ({"models": ["bse"]}, "variants.models: there is no model 'bse'"),
        ({"seeds": [9], "variants": [LEFT]}, "variants.seeds: none of the models has one of these seeds"),
    ],
)
def test_a_wrong_field_is_named_before_any_job(variants: dict[str, Any], problem: str) -> None:
    with pytest.raises(StudyError) as error:
        study(**variants)
    assert problem in str(error.value)


def test_models_and_seeds_that_are_measured() -> None:
    def measured(**variants: Any) -> list[tuple[str, int]]:
        return [(model.name, seed) for model, seed in measured_with_variants(study(variants=[LEFT], **variants))]

    assert measured() == [("base", 4), ("one", 5), ("base-sft", 4)]
    assert measured(seeds=[5, 4]) == [("base", 4), ("base", 5), ("one", 5), ("base-sft", 4), ("base-sft", 5)]
    assert measured(models=["base-sft"]) == [("base-sft", 4)]


def test_choices_are_the_fields_in_which_two_variants_differ() -> None:
    own = Variant(name="study")
    right = Variant(name="right", padding="right")
    assert right.choices(own) == own.choices(right) == ["padding"]
    assert Variant(name="a", padding="right", pad_to=64, pad_token="eos").choices(own) == ["padding"]
    assert Variant(name="a", padding="right", pad_to=64, pad_token="eos").choices(right) == ["pad_to", "pad_token"]
    unmasked = Variant(name="a", padding="left", averaging="unmasked", position_ids="model", dtype="float16")
    assert unmasked.choices(own) == ["padding", "averaging", "position_ids", "dtype"]


def test_what_a_variant_leaves_open_is_as_in_the_study() -> None:
    extraction = Extraction(dtype="bfloat16", template="chat")
    resolved = Variant(name="a", template="raw").resolved(extraction)
    assert (resolved.dtype, resolved.template) == ("bfloat16", "raw")
    assert Variant(name="a").resolved(Extraction(first_token="none")).first_token == "none"
    # A chat template writes its own.
    assert Variant(name="a", first_token="bos").resolved(extraction).first_token == "tokenizer"
    # A choice that the study has made already differs in nothing.
    assert (
        Variant(name="half", dtype="bfloat16").resolved(extraction).choices(Variant(name="study").resolved(extraction))
        == []
    )


def test_the_documented_variants_are_valid() -> None:
    text = (ROOT / "docs" / "variants.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    assert len(blocks) == 2
    assert all(Variants(**block["variants"]).variants for block in blocks)
